// A ledger against its log: whoever changes either is seen.
#include "factory-ca/ledger_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "factory-ca/later_life.h"
#include "tests/unit/factory_ca/factory.h"

namespace fleetroot::ca {
namespace {

using testing::HasSubstr;

class LedgerCheck : public Factory {
 protected:
  LedgerCheck() {
    open_order("PO-1", 5);
    for (const char* name : {"dev-1", "dev-2"}) {
      EvpPkeyPtr key = software_key(KeyAlgorithm::p256);
      certificates_.push_back(
          process.issue(CertificateRequest::create(name, PublicKey::from_evp(key.get()), key.get())));
    }
    revoke_certificate(ledger(), DeviceId::parse("dev-2"), RevocationReason::key_compromise, clock,
                       Commitment::for_real);
  }
  std::string serial(std::size_t i) const { return certificates_.at(i).serial().hex(); }
  void raw(const std::string& statement) { raw_.sql() << statement; }
  void expect_broken(const std::string& why) {
    Error error = error_of([&] { check_ledger(ledger()); });
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_THAT(error.message(), HasSubstr(why));
  }

  std::vector<Certificate> certificates_;
  // Somebody with a database tool.
  Database raw_{directory / "ledger.db", std::vector<std::string_view>(Ledger::kSchemaVersion, "")};
};

TEST_F(LedgerCheck, IsWholeUntilSomebodyChangesIt) {
  std::size_t seen = 0;
  std::size_t all = 0;
  Checkpoint checkpoint = check_ledger(ledger(), {}, [&](std::size_t done, std::size_t of) {
    seen = done;
    all = of;
  });
  EXPECT_EQ(checkpoint.digest, ledger().log.checkpoint().digest);
  EXPECT_EQ(seen, 3U);
  EXPECT_EQ(all, 3U);
}

TEST_F(LedgerCheck, ShowsAnotherCertificate) {
  raw("UPDATE certificates SET certificate = (SELECT certificate FROM certificates WHERE subject = 'dev-2') "
      "WHERE subject = 'dev-1'");
  expect_broken("the certificate " + serial(0) + " is not the one that entry 1");
}

TEST_F(LedgerCheck, ShowsOneThatIsGone) {
  raw("DELETE FROM certificates WHERE subject = 'dev-1'");
  expect_broken("the certificate " + serial(0) + ", which is gone");
}

TEST_F(LedgerCheck, ShowsOneThatNoEntryIsAbout) {
  raw("INSERT INTO certificates SELECT * FROM (SELECT '00ff', kind, 'dev-3', order_id, sender, profile, "
      "profile_digest, issuer_key_id, 'key-3', key_algorithm, key_id, not_before, not_after, tbs, "
      "tbs_digest, certificate, statement, state, issued_at, confirmation, confirmed_at, revoked_at, "
      "generation, supersedes, renewal, revocation_reason, revocation_number FROM certificates "
      "WHERE subject = 'dev-1')");
  expect_broken("holds 3 certificates, and its log 2");
}

TEST_F(LedgerCheck, ShowsARevocationThatIsUndone) {
  raw("UPDATE certificates SET state = 'issued' WHERE subject = 'dev-2'");
  expect_broken("the certificate " + serial(1) + " was revoked by entry 3");
}

TEST_F(LedgerCheck, ShowsARevocationThatNoEntryIsAbout) {
  raw("UPDATE certificates SET state = 'revoked' WHERE subject = 'dev-1'");
  expect_broken("holds 2 revoked certificates, and its log 1");
}

// Whoever can write the ledger can chain what he likes.
TEST_F(LedgerCheck, ShowsAnEntryThatNobodyWrites) {
  for (const std::string entry : {"no JSON", R"({"event":"device.certified"})"}) {
    Checkpoint last = ledger().log.checkpoint();
    std::string digest = sha256_hex(as_bytes(last.digest + "\n" + entry));
    raw("INSERT INTO log VALUES (4, '" + entry + "', '" + digest + "')");
    expect_broken("entry 4 of the log is not one");
    raw("DELETE FROM log WHERE sequence = 4");
  }
}

TEST_F(LedgerCheck, ShowsADamagedFile) {
  raw("PRAGMA writable_schema = ON");
  raw("UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'orders') "
      "WHERE name = 'station_orders'");
  Ledger anew(directory / "ledger.db");
  Error error = error_of([&] { check_ledger(anew); });
  EXPECT_EQ(error.code(), ErrorCode::io);
  EXPECT_THAT(error.message(), HasSubstr("damaged"));
}

TEST_F(LedgerCheck, FindsAnEarlierCheckpointAndNoOther) {
  std::string noted = ledger().log.checkpoint().digest;
  revoke_certificate(ledger(), DeviceId::parse("dev-1"), RevocationReason::superseded, clock,
                     Commitment::for_real);
  EXPECT_EQ(check_ledger(ledger(), noted).sequence, 4);

  Error error = error_of([&] { check_ledger(ledger(), sha256_hex(as_bytes("another past"))); });
  EXPECT_EQ(error.code(), ErrorCode::io);
  EXPECT_THAT(error.message(), HasSubstr("does not hold the checkpoint"));
}

}  // namespace
}  // namespace fleetroot::ca
