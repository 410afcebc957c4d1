#include "factory-ca/ledger_check.h"

#include <fmt/format.h>

#include "lib/x509/openssl.h"

namespace fleetroot::ca {
namespace {

Error broken(std::string what) {
  return {ErrorCode::io, std::move(what),
          "stop issuing and keep the ledger: somebody changed it, or the disk did"};
}

// What the log says of the certificates, entry by entry, against what the ledger holds of them.
class CertificateCheck {
 public:
  explicit CertificateCheck(CertificateLedger& certificates) : certificates_(certificates) {}

  void take(const LogEntry& entry) {
    try {
      take(entry.sequence, nlohmann::json::parse(entry.entry));
    } catch (const nlohmann::json::exception&) {
      throw broken(fmt::format("entry {} of the log is not one that this CA writes", entry.sequence));
    }
  }
  // What is in no entry.
  void finish() {
    long long revoked = certificates_.count(CertificateState::revoked);
    refuse_unless_equal(certificates_.count(CertificateState::issued) + revoked, certified_, "certificates");
    refuse_unless_equal(revoked, revoked_, "revoked certificates");
  }

 private:
  void take(long long entry, const nlohmann::json& details) {
    std::string event = details.at("event");
    if (event.ends_with(".certified") || event.ends_with(".renewed")) {
      ++certified_;
      compare(entry, details.at("serial"), details.at("certificate"));
    } else if (event.ends_with(".revoked") || event == "front.replaced") {
      ++revoked_;
      std::string serial = details.at("serial");
      if (find(entry, serial).state == CertificateState::revoked) return;
      throw broken(fmt::format("the certificate {} was revoked by entry {} of the log, and is no more",
                               serial, entry));
    }
  }
  CertificateRecord find(long long entry, const std::string& serial) {
    if (std::optional<CertificateRecord> record = certificates_.with_serial(serial))
      return *std::move(record);
    throw broken(
        fmt::format("entry {} of the log is about the certificate {}, which is gone", entry, serial));
  }
  void compare(long long entry, const std::string& serial, const std::string& digest) {
    if (sha256_hex(find(entry, serial).certificate) == digest) return;
    throw broken(
        fmt::format("the certificate {} is not the one that entry {} of the log is about", serial, entry));
  }
  static void refuse_unless_equal(long long in_ledger, long long in_log, std::string_view what) {
    if (in_ledger == in_log) return;
    throw broken(fmt::format("the ledger holds {} {}, and its log {}", in_ledger, what, in_log));
  }

  CertificateLedger& certificates_;
  long long certified_ = 0;
  long long revoked_ = 0;
};

}  // namespace

Checkpoint check_ledger(Ledger& ledger, const std::optional<std::string>& checkpoint,
                        const std::function<void(std::size_t done, std::size_t all)>& progress) {
  ReadTransaction one_moment = ledger.read();
  ledger.refuse_if_damaged();
  auto all = static_cast<std::size_t>(ledger.log.checkpoint().sequence);
  CertificateCheck certificates(ledger.certificates);
  bool is_held = !checkpoint;
  Checkpoint last = ledger.log.verify([&](const LogEntry& entry) {
    certificates.take(entry);
    is_held = is_held || entry.digest == *checkpoint;
    if (progress) progress(static_cast<std::size_t>(entry.sequence), all);
  });
  if (!is_held) {
    throw broken(
        fmt::format("the log does not hold the checkpoint {}: its past is another one", *checkpoint));
  }
  certificates.finish();
  return last;
}

}  // namespace fleetroot::ca
