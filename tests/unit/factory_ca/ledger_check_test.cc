// A ledger against its log: whoever changes either is seen.
#include "factory-ca/ledger_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "factory-ca/later_life.h"
#include "factory-ca/revocation_lists.h"
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

  // What somebody changes, and what is to be said of it.
  using Edits = std::vector<std::pair<std::string, std::string>>;
  // Each in a copy of its own.
  void expect_each_broken(const Edits& edits) {
    ASSERT_NO_THROW(check_ledger(ledger()));
    std::filesystem::path copy = directory / "copy.db";
    for (const auto& [edit, why] : edits) {
      raw("VACUUM INTO '" + copy.string() + "'");
      {
        Ledger edited(copy);
        Database tool(copy, std::vector<std::string_view>(Ledger::kSchemaVersion, ""));
        tool.sql() << edit;
        Error error = error_of([&] { check_ledger(edited); });
        EXPECT_EQ(error.code(), ErrorCode::io) << edit;
        EXPECT_THAT(error.message(), HasSubstr(why)) << edit;
      }
      std::filesystem::remove(copy);
    }
  }
  void publish(ListKind kind = ListKind::complete) {
    clock.time += std::chrono::hours(1);
    WantedList wanted{.kind = kind, .validity = *Validity::parse("30 days")};
    (void)publish_list(ledger(), issuing.signer, issuing.certificate, wanted, clock,
                       [](const CertificateRevocationList&) {});
  }
  void authorise(const char* device) {
    (void)authorise_rework(ledger(), DeviceId::parse(device), "token broken", clock, Commitment::for_real);
  }
  // PO-2, with two devices, and closed.
  void open_listed_order() {
    WorkOrder order{.id = OrderId::parse("PO-2"),
                    .profile = ProfileName::parse("device"),
                    .pattern = {},
                    .quantity = 2,
                    .created_at = format_time(clock.time),
                    .closed_at = ""};
    ca::open_order(ledger(), order,
                   {{.id = DeviceId::parse("X-1"), .columns = {{"a", "b"}}},
                    {.id = DeviceId::parse("X-2"), .columns = {}}},
                   "", clock);
    close_order("PO-2");
  }
  void rewrite_log_without(const std::map<std::string, std::string>& members) {
    std::vector<std::string> entries;
    ledger().log.verify([&](const LogEntry& entry) {
      nlohmann::json json = nlohmann::json::parse(entry.entry);
      if (auto found = members.find(json.at("event")); found != members.end()) json.erase(found->second);
      entries.push_back(json.dump());
    });
    raw("DELETE FROM log");
    std::string digest(64, '0');
    for (std::size_t i = 0; i < entries.size(); ++i) {
      digest = sha256_hex(as_bytes(digest + "\n" + entries[i]));
      raw("INSERT INTO log VALUES (" + std::to_string(i + 1) + ", '" + entries[i] + "', '" + digest + "')");
    }
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
  EXPECT_EQ(seen, 4U);
  EXPECT_EQ(all, 4U);
}

TEST_F(LedgerCheck, ShowsAnotherCertificate) {
  raw("UPDATE certificates SET certificate = (SELECT certificate FROM certificates WHERE subject = 'dev-2') "
      "WHERE subject = 'dev-1'");
  expect_broken("the certificate " + serial(0) + " is not the one that entry 2");
}

TEST_F(LedgerCheck, ShowsOneThatIsGone) {
  raw("DELETE FROM certificates WHERE subject = 'dev-1'");
  expect_broken("the certificate " + serial(0) + ", which is gone");
}

TEST_F(LedgerCheck, ShowsOneThatNoEntryIsAbout) {
  raw("INSERT INTO certificates SELECT * FROM (SELECT '00ff', kind, 'dev-3', order_id, sender, profile, "
      "profile_digest, issuer_key_id, 'key-3', key_algorithm, key_id, not_before, not_after, tbs, "
      "tbs_digest, certificate, statement, state, issued_at, confirmation, confirmed_at, revoked_at, "
      "generation, supersedes, renewal, revocation_reason, revocation_number, rework, disowned, "
      "abandonment FROM certificates "
      "WHERE subject = 'dev-1')");
  expect_broken("holds 3 certificates, and its log 2");
}

TEST_F(LedgerCheck, ShowsARevocationThatIsUndone) {
  raw("UPDATE certificates SET state = 'issued' WHERE subject = 'dev-2'");
  expect_broken("the certificate " + serial(1) + " was revoked by entry 4");
}

TEST_F(LedgerCheck, ShowsARevocationThatNoEntryIsAbout) {
  raw("UPDATE certificates SET state = 'revoked' WHERE subject = 'dev-1'");
  expect_broken("holds 2 revoked certificates, and its log 1");
}

TEST_F(LedgerCheck, ShowsACertificateThatIsOnRecordForSomethingElse) {
  const Edits edits{{"subject = 'dev-3'", "has device_id \"dev-3\", and entry 2 of the log says \"dev-1\""},
                    {"order_id = 'PO-2'", "has order \"PO-2\""},
                    {"supersedes = '5e'", "has supersedes \"5e\""},
                    {"public_key = '00'", "has public_key \"00\""},
                    {"issued_at = ''", "has time \"\""},
                    {"sender = 'st-09'", "has sender \"st-09\", and entry 2 of the log says \"operator\""},
                    {"key_id = '00'", "another key identifier"},
                    {"key_algorithm = 'rsa3072'", "another key algorithm"},
                    {"kind = 'station'", "another kind"},
                    {"issuer_key_id = '00'", "another issuer"},
                    {"not_after = 0", "another validity"}};
  for (const auto& [edit, why] : edits)
    expect_each_broken({{"UPDATE certificates SET " + edit + " WHERE subject = 'dev-1'", why}});
}

TEST_F(LedgerCheck, ShowsWhatDoesNotGoWithACertificatesState) {
  std::string why = "the certificate " + serial(0) + " has on record what does not go with its state";
  for (const char* edit : {"revoked_at = '2026-11-24T00:00:00Z'", "revocation_reason = 'superseded'",
                           "revocation_number = 7", "abandonment = 1"})
    expect_each_broken({{std::string("UPDATE certificates SET ") + edit + " WHERE subject = 'dev-1'", why}});
}

TEST_F(LedgerCheck, ShowsAnIndexThatIsGoneAndATriggerThatWasPlanted) {
  expect_each_broken({
      {"DROP INDEX one_subject_a_key", "the index one_subject_a_key"},
      {"DROP INDEX one_live_certificate_a_subject", "the index one_live_certificate_a_subject"},
      {"CREATE TRIGGER planted AFTER INSERT ON log BEGIN UPDATE orders SET used = 0; END",
       "the trigger planted"},
  });
}

TEST_F(LedgerCheck, ShowsAListOfAnOrderThatIsNot) {
  raw("PRAGMA foreign_keys = OFF");
  raw("INSERT INTO order_devices VALUES ('PO-9', 'X-9', '{}')");
  expect_broken("a row of order_devices that belongs to none of orders");
}

TEST_F(LedgerCheck, ShowsARevocationThatIsAnother) {
  raw("UPDATE certificates SET revocation_reason = 'superseded' WHERE subject = 'dev-2'");
  expect_broken("has reason \"superseded\", and entry 4 of the log says \"keyCompromise\"");
}

// What another CA issued is on no list of this one, whether or not it names its issuer's key. Several roots
// may have certified the same one.
TEST_F(LedgerCheck, TakesTheCAsOwnCertificateOnceItIsRevoked) {
  SoftwareCa ours = make_issuing(make_root());
  CertificatePlan same = issuing_plan("Factory CA", ours.signer.public_key, kTestTime);
  X509Ptr unnamed(X509_dup(certificate_under(make_root(), same).x509()));
  X509_EXTENSION_free(
      X509_delete_ext(unnamed.get(), X509_get_ext_by_NID(unnamed.get(), NID_authority_key_identifier, -1)));
  ASSERT_GT(X509_sign(unnamed.get(), ours.key.get(), EVP_sha256()), 0);

  for (const Certificate& own :
       {ours.certificate, Certificate(std::move(unnamed)), certificate_under(make_root(), same)}) {
    EXPECT_NO_THROW(refuse_if_revoked(ledger(), own));
    Revoked revoked = revoke_certificate(ledger(), own.serial(), RevocationReason::ca_compromise, clock,
                                         Commitment::for_real, own);
    EXPECT_TRUE(revoked.is_new);
    EXPECT_EQ(code_of([&] { refuse_if_revoked(ledger(), own); }), ErrorCode::configuration);
    ledger().certificates.each_revoked(own.subject_key_identifier(),
                                       [](const RevokedCertificate&) { ADD_FAILURE(); });
  }
  EXPECT_NO_THROW(check_ledger(ledger()));
}

TEST_F(LedgerCheck, ShowsARevocationListThatIsAnother) {
  publish();  // entry 5
  revoke_certificate(ledger(), DeviceId::parse("dev-1"), RevocationReason::superseded, clock,
                     Commitment::for_real);
  publish(ListKind::delta);  // entry 7
  expect_each_broken({
      {"DELETE FROM crls",
       "entry 5 of the log is about the revocation list 1 of 2026-11-24T01:00:00Z, which the ledger does not "
       "hold"},
      {"UPDATE crls SET this_update = 253402300700 WHERE number = 1", "is about the revocation list 1 of "},
      {"UPDATE crls SET base_number = 0 WHERE number = 2", "is about the revocation list 2 of "},
      {"UPDATE crls SET number = 9 WHERE number = 2", "is about the revocation list 2 of "},
      {"UPDATE crls SET issuer_key_id = '00' WHERE number = 1", "is about the revocation list 1 of "},
      {"UPDATE crls SET state = 'reserved' WHERE number = 2",
       "the revocation list 2 counts as never published, and entry 7 of the log says that it was"},
      {"INSERT INTO crls SELECT issuer_key_id, 3, 1, 0, '', state FROM crls WHERE number = 1",
       "the log knows nothing of the revocation list 3"},
      {"UPDATE certificates SET revocation_number = 1 WHERE subject = 'dev-1'",
       "was revoked by entry 6 of the log, after the revocation list 1 that is to name it first"},
      {"UPDATE certificates SET revocation_number = 99 WHERE subject = 'dev-1'",
       "is to be named by the revocation list 99 first, and the ledger knows none with the number 98"},
  });
}

TEST_F(LedgerCheck, ShowsARevocationListThatIsNoLongerDisowned) {
  publish();
  publish();
  raw("UPDATE crls SET state = 'reserved' WHERE number = 2");
  {
    WriteTransaction transaction = ledger().write();
    ledger().log.append("crl.disowned", clock.time - std::chrono::seconds(1),
                        {{"issuer_key_id", to_hex(issuing.signer.facts.key_identifier)}, {"lists", 1}});
    transaction.commit();
  }
  expect_each_broken(
      {{"UPDATE crls SET state = 'published' WHERE number = 2",
        "the revocation list 2 counts as published, and entry 7 of the log says that it does not"},
       {"UPDATE crls SET state = 'reserved'", "the revocation list 1 counts as never published"}});
}

TEST_F(LedgerCheck, TakesListsThatWereBegunAndNotPublished) {
  publish();
  raw("INSERT INTO crls SELECT issuer_key_id, 2, 0, this_update, '', 'reserved' FROM crls");
  publish();
  EXPECT_NO_THROW(check_ledger(ledger()));
}

TEST_F(LedgerCheck, ShowsAnOrderThatIsAnother) {
  open_listed_order();
  expect_each_broken({
      {"UPDATE orders SET quantity = 100 WHERE id = 'PO-1'", "PO-1 has quantity 100"},
      {"UPDATE orders SET used = 0 WHERE id = 'PO-1'", "PO-1 has 0 places taken, and 2 devices have one"},
      {"UPDATE orders SET pattern = '.*' WHERE id = 'PO-1'", "PO-1 has pattern \".*\""},
      {"UPDATE orders SET profile = 'idevid' WHERE id = 'PO-1'", "PO-1 has profile \"idevid\""},
      {"UPDATE orders SET state = 'open' WHERE id = 'PO-2'", "PO-2 is open"},
      {"UPDATE orders SET state = 'closed' WHERE id = 'PO-1'", "PO-1 is closed"},
      {"INSERT INTO order_devices VALUES ('PO-2', 'X-3', '{}')", "PO-2 has devices"},
      {"UPDATE order_devices SET columns = '{\"a\":\"c\"}' WHERE device_id = 'X-1'", "PO-2 has devices"},
      {"INSERT INTO orders SELECT 'PO-3', profile, pattern, quantity, 0, state, '', '' FROM orders WHERE id "
       "= 'PO-1'",
       "knows nothing of the order PO-3"},
      {"DELETE FROM orders WHERE id = 'PO-1'", "the order PO-1, which is gone"},
  });
}

TEST_F(LedgerCheck, ShowsAStationThatIsNoLongerBound) {
  {
    WriteTransaction transaction = ledger().write();
    ledger().station_orders.bind("st-01", {OrderId::parse("PO-1")});
    ledger().log.append("station.bound", clock.time, {{"subject", "st-01"}, {"orders", {"PO-1"}}});
    transaction.commit();
  }
  expect_each_broken(
      {{"DELETE FROM station_orders", "station st-01 is bound to other orders"},
       {"INSERT INTO station_orders VALUES ('st-02', 'PO-1')", "station st-02 is bound to other orders"}});
}

TEST_F(LedgerCheck, ShowsAReworkThatIsAnother) {
  authorise("dev-1");
  (void)process.issue(request_for("dev-1", software_key()));
  authorise("dev-1");
  withdraw_rework(ledger(), DeviceId::parse("dev-1"), clock);
  authorise("dev-2");
  expect_each_broken({
      {"UPDATE reworks SET state = 'authorised', serial = '' WHERE state = 'used'",
       "is authorised, and the log says used"},
      {"UPDATE reworks SET state = 'authorised' WHERE state = 'withdrawn'",
       "is authorised, and the log says withdrawn"},
      {"UPDATE reworks SET device_id = 'dev-1' WHERE state = 'authorised'", "has device_id \"dev-1\""},
      {"DELETE FROM reworks WHERE state = 'used'", "holds 2 reworks, and its log 3"},
      {"INSERT INTO reworks SELECT 9, 'dev-5', '', 'authorised', '', '', ''",
       "knows nothing of the rework 9"},
  });
}

TEST_F(LedgerCheck, ShowsADeviceThatIsNoLongerScrapped) {
  (void)scrap(ledger(), DeviceId::parse("dev-1"), ScrapCause::parse("stolen"), clock, Commitment::for_real);
  expect_each_broken(
      {{"DELETE FROM scrapped_devices", "device dev-1 was scrapped by entry 6"},
       {"UPDATE scrapped_devices SET cause = 'damaged'", "has cause \"damaged\""},
       {"INSERT INTO scrapped_devices VALUES ('dev-7', 'lost', '')", "holds 2 scrapped devices"}});
}

TEST_F(LedgerCheck, ShowsABundleThatIsForgotten) {
  {
    WriteTransaction transaction = ledger().write();
    ledger().bundles.append({.station = "st-01",
                             .signer = "aa",
                             .sequence = 1,
                             .digest = "bb",
                             .reply_digest = "cc",
                             .order = "PO-1",
                             .answered_at = ""});
    ledger().log.append("bundle.answered", clock.time,
                        {{"station", "st-01"}, {"sequence", 1}, {"bundle", "bb"}, {"reply", "cc"}});
    transaction.commit();
  }
  expect_each_broken({{"DELETE FROM bundles", "the bundle bb, which is gone"},
                      {"UPDATE bundles SET reply_digest = 'dd'", "has reply \"dd\""},
                      {"INSERT INTO bundles VALUES (9, 'st-01', 'aa', 2, 'ee', 'ff', 'PO-1', '')",
                       "holds 2 answered bundles, and its log 1"}});
}

// Older ones say less.
TEST_F(LedgerCheck, TakesEntriesWithoutTheListsDigestTheReworkAndTheIssuersKey) {
  open_listed_order();
  publish();
  authorise("dev-1");
  (void)process.issue(request_for("dev-1", software_key()));
  rewrite_log_without(
      {{"order.created", "devices"}, {"device.certified", "rework"}, {"crl.published", "issuer_key_id"}});
  EXPECT_NO_THROW(check_ledger(ledger()));
  expect_each_broken({{"DELETE FROM crls", "is about the revocation list 1 of "}});
  expect_each_broken({{"UPDATE reworks SET state = 'authorised', serial = ''", "and the log says used"}});
}

// Where another station had finished what one had begun, the record named the one, and the log the other.
TEST_F(LedgerCheck, TakesALedgerFromBeforeTheSenderWasWhoFinished) {
  raw("UPDATE certificates SET sender = 'st-01' WHERE subject = 'dev-1'");
  raw("INSERT INTO log VALUES (5, 'no JSON', '')");
  age_ledger(6);
  Ledger opened(directory / "ledger.db");
  EXPECT_EQ(opened.certificates.live(SubjectKind::device, "dev-1").value().sender, "operator");
  raw("DELETE FROM log WHERE sequence = 5");
  EXPECT_NO_THROW(check_ledger(opened));
}

TEST_F(LedgerCheck, TakesWhatWasDisownedAndNothingElseThatIsSaidToBe) {
  clock.time += std::chrono::hours(24);
  EvpPkeyPtr key = software_key(KeyAlgorithm::p256);
  (void)process.issue(CertificateRequest::create("dev-3", PublicKey::from_evp(key.get()), key.get()));
  clock.time -= std::chrono::hours(24);
  (void)disown_later(ledger(), issuing.certificate, clock, Commitment::for_real);
  expect_each_broken(
      {{"UPDATE certificates SET disowned = 1 WHERE subject = 'dev-1'",
        "the ledger holds 2 disowned certificates, and its log 1"},
       {"UPDATE certificates SET disowned = 0", "the ledger holds 0 disowned certificates, and its log 1"}});
}

// Whoever can write the ledger can chain what he likes.
TEST_F(LedgerCheck, ShowsAnEntryThatNobodyWrites) {
  for (const std::string entry : {"no JSON", R"({"event":"device.certified"})"}) {
    Checkpoint last = ledger().log.checkpoint();
    std::string digest = sha256_hex(as_bytes(last.digest + "\n" + entry));
    raw("INSERT INTO log VALUES (5, '" + entry + "', '" + digest + "')");
    expect_broken("entry 5 of the log is not one");
    raw("DELETE FROM log WHERE sequence = 5");
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
  EXPECT_EQ(check_ledger(ledger(), noted).sequence, 5);

  Error error = error_of([&] { check_ledger(ledger(), sha256_hex(as_bytes("another past"))); });
  EXPECT_EQ(error.code(), ErrorCode::io);
  EXPECT_THAT(error.message(), HasSubstr("does not hold the checkpoint"));
}

}  // namespace
}  // namespace fleetroot::ca
