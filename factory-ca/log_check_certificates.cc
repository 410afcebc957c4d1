// Certificates: what the log says of each, what the ledger has on record, and what is in it.
#include <fmt/format.h>

#include "factory-ca/log_check.h"
#include "lib/x509/certificate.h"

namespace fleetroot::ca {
namespace {

class CertificateCheck final : public LogCheck {
 public:
  explicit CertificateCheck(Ledger& ledger) : certificates_(ledger.certificates) {}

  void take(const LoggedEvent& event) override {
    if (event.event.ends_with(".certified") || event.event.ends_with(".renewed") ||
        event.event == "authority.recorded") {
      ++certified_;
      compare_issued(event);
    } else if (event.event.ends_with(".revoked") || event.event == "front.replaced") {
      ++revoked_;
      compare_revoked(event);
    } else if (event.event == "certificates.disowned") {
      disowned_ += event.details.at("certificates").get<long long>();
    }
  }
  void finish() override {
    long long revoked = certificates_.count(CertificateState::revoked);
    refuse_unless_equal(certificates_.count(CertificateState::issued) + revoked, certified_, "certificates");
    refuse_unless_equal(revoked, revoked_, "revoked certificates");
    if (std::optional<std::string> serial = certificates_.at_odds_with_its_state()) {
      throw broken(fmt::format("the certificate {} has on record what does not go with its state", *serial));
    }
    refuse_unless_equal(certificates_.count_disowned(), disowned_, "disowned certificates");
  }

 private:
  CertificateRecord find(const LoggedEvent& event) {
    std::string serial = event.details.at("serial");
    if (std::optional<CertificateRecord> record = certificates_.with_serial(serial))
      return *std::move(record);
    throw broken(
        fmt::format("entry {} of the log is about the certificate {}, which is gone", event.entry, serial));
  }
  static std::string name(const CertificateRecord& record) { return "the certificate " + record.serial; }

  void compare_issued(const LoggedEvent& event) {
    CertificateRecord record = find(event);
    if (sha256_hex(record.certificate) != event.details.at("certificate")) {
      throw broken(
          fmt::format("{} is not the one that entry {} of the log is about", name(record), event.entry));
    }
    bool is_device = event.event == "device.certified";
    event.refuse_unless_said(name(record), is_device ? "device_id" : "subject", record.subject);
    event.refuse_unless_said(name(record), "time", record.issued_at);
    event.refuse_unless_said_or_silent(name(record), "order", record.order);
    event.refuse_unless_said_or_silent(name(record), "sender", record.sender);
    event.refuse_unless_said_or_silent(name(record), "supersedes", record.supersedes);
    event.refuse_unless_said_or_silent(name(record), "public_key", record.public_key);
    compare_with_itself(record, event.event.substr(0, event.event.find('.')));
  }
  static void compare_with_itself(const CertificateRecord& record, const std::string& kind) {
    Certificate certificate = Certificate::fields_from_der(record.certificate);
    PublicKey key = certificate.public_key();
    const char* wrong = nullptr;
    if (name_of(record.kind) != kind) wrong = "kind";
    if (record.public_key != key.fingerprint()) wrong = "public key";
    if (record.key_algorithm != name_of(key.algorithm())) wrong = "key algorithm";
    if (record.key_id != certificate.subject_key_identifier()) wrong = "key identifier";
    if (record.issuer_key_id != issuer_key_id_of(certificate)) wrong = "issuer";
    if (record.not_before != certificate.not_before() || record.not_after != certificate.not_after())
      wrong = "validity";
    if (wrong == nullptr) return;
    throw broken(fmt::format("the ledger holds another {} than {} has", wrong, name(record)));
  }
  void compare_revoked(const LoggedEvent& event) {
    CertificateRecord record = find(event);
    if (record.state != CertificateState::revoked) {
      throw broken(
          fmt::format("{} was revoked by entry {} of the log, and is no more", name(record), event.entry));
    }
    event.refuse_unless_said(name(record), "time", record.revoked_at);
    event.refuse_unless_said_or_silent(name(record), "reason", name_of(record.revocation_reason));
  }
  static void refuse_unless_equal(long long in_ledger, long long in_log, std::string_view what) {
    if (in_ledger == in_log) return;
    throw broken(fmt::format("the ledger holds {} {}, and its log {}", in_ledger, what, in_log));
  }

  CertificateLedger& certificates_;
  long long certified_ = 0;
  long long revoked_ = 0;
  long long disowned_ = 0;
};

}  // namespace

std::unique_ptr<LogCheck> check_certificates(Ledger& ledger) {
  return std::make_unique<CertificateCheck>(ledger);
}

}  // namespace fleetroot::ca
