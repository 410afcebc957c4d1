// A factory with its ledger on disk and its keys in memory, and a second look at everything it promises.
#pragma once

#include <gtest/gtest.h>

#include <set>

#include "factory-ca/issuer.h"
#include "factory-ca/order_life.h"
#include "lib/base/files.h"
#include "lib/x509/provisioning_statement.h"
#include "tests/expect_error.h"
#include "tests/scratch_directory.h"
#include "tests/unit/factory_ca/software_ca.h"

namespace fleetroot::ca {

inline const Validity kStationValidity = *Validity::parse("365 days");

// One process of the CA: a ledger of its own on the same file, and an issuer.
struct Process {
  Process(const std::filesystem::path& directory, const SoftwareCa& issuing, const ToldClock& told_clock)
      : clock(told_clock),
        ledger(directory / "ledger.db"),
        issuer(ledger, issuing.signer, issuing.certificate, directory / "profiles", kStationValidity, clock) {
  }

  // A request that is made now.
  Certificate issue(const CertificateRequest& request, const std::string& order = "PO-1",
                    const std::string& sender = "operator") {
    return issue({.sender = sender, .request = request, .order = OrderId::parse(order), .made = clock.time});
  }
  Certificate issue(const Submission& submission) {
    return Certificate::from_der(run_alone(issuer.issue(submission)));
  }

  const ToldClock& clock;
  Ledger ledger;
  Issuer issuer;
};

class Factory : public testing::Test {
 protected:
  Factory() {
    std::filesystem::create_directory(directory / "profiles");
    for (const char* name : {"device", "idevid"})
      write_profile(name, std::string(shipped_profile_text(name)));
  }

  void write_profile(const std::string& name, const std::string& toml) {
    write_file(directory.path() / "profiles" / (name + ".toml"), toml);
  }
  std::unique_ptr<Process> another_process() {
    return std::make_unique<Process>(directory.path(), issuing, clock);
  }
  Ledger& ledger() { return process.ledger; }

  void open_order(const std::string& id, long long quantity, const std::string& pattern = "dev-[0-9]+",
                  const std::string& profile = "device") {
    ca::open_order(ledger(),
                   {.id = OrderId::parse(id),
                    .profile = ProfileName::parse(profile),
                    .pattern = DevicePattern::parse(pattern),
                    .quantity = quantity,
                    .created_at = format_time(clock.time),
                    .closed_at = ""},
                   {}, "", clock);
  }
  void close_order(const std::string& id) {
    (void)ca::close_order(ledger(), OrderId::parse(id), clock, Commitment::for_real);
  }
  void revoke(const Certificate& certificate) {
    WriteTransaction transaction = ledger().write();
    ledger().certificates.revoke(certificate.serial().hex(), RevocationReason::unspecified, clock.time);
    transaction.commit();
  }
  // Makes the ledger what an older program left: undoes the last migrations, and says that it is this old.
  void age_ledger(int version, const std::string& edit = "") {
    Database tool(directory / "ledger.db", std::vector<std::string_view>(Ledger::kSchemaVersion, ""));
    tool.sql() << "DROP INDEX one_subject_a_key";
    tool.sql() << "ALTER TABLE certificates DROP COLUMN abandonment";
    tool.sql()
        << "CREATE UNIQUE INDEX one_subject_a_key ON certificates (public_key, renewal) WHERE state <> "
           "'abandoned'";
    tool.sql()
        << "CREATE INDEX given_up_keys ON certificates (public_key, not_before) WHERE state = 'abandoned'";
    if (version < 8) {
      tool.sql() << "DROP INDEX certificates_by_time";
      tool.sql() << "ALTER TABLE certificates DROP COLUMN disowned";
      tool.sql() << "CREATE INDEX certificates_by_time ON certificates (not_before)";
    }
    if (!edit.empty()) tool.sql() << edit;
    tool.sql() << "PRAGMA user_version = " << version;
  }
  long long used(const std::string& order = "PO-1") {
    return ledger().orders.get(OrderId::parse(order)).used;
  }
  std::optional<CertificateRecord> live(const std::string& device) {
    return ledger().certificates.live(SubjectKind::device, device);
  }

  // Another process does this when the issuer looks at the clock for the nth time: 1 before it reserves,
  // 2 between its signature and its commit.
  void when_looking(int nth, std::function<void()> act) {
    clock.looking = [this, nth, looks = 0, act = std::move(act)]() mutable {
      if (++looks != nth) return;
      std::function<void()> now = std::move(act);
      clock.looking = [] {};
      now();
    };
  }

  // As if the process died just before the certificate is committed: the clock is read for the plan, and then
  // once more for the commit, with the reservation on disk and the signature made.
  void crash_before_commit(const CertificateRequest& request, const std::string& order = "PO-1") {
    struct Death {};
    int looks = 0;
    clock.looking = [&] {
      if (++looks == 2) throw Death();
    };
    EXPECT_THROW((void)another_process()->issue(request, order), Death);
    clock.looking = [] {};
  }

  // Every entry of the log whose event is `event`.
  std::vector<nlohmann::json> events(const std::string& event) {
    std::vector<nlohmann::json> found;
    ledger().log.verify([&](const LogEntry& entry) {
      nlohmann::json json = nlohmann::json::parse(entry.entry);
      if (json["event"] == event) found.push_back(json);
    });
    return found;
  }

  ScratchDirectory directory;
  ToldClock clock;
  SoftwareCa root = make_root();
  SoftwareCa issuing = make_issuing(root);
  Process process{directory.path(), issuing, clock};
};

}  // namespace fleetroot::ca
