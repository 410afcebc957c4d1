// What goes into a revocation list, when it leaves again, and that a stranger agrees.
#include "factory-ca/revocation_lists.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "factory-ca/later_life.h"
#include "tests/judge.h"
#include "tests/unit/factory_ca/factory.h"

namespace fleetroot::ca {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

const Validity kOneDay = *Validity::parse("1 days");

class RevocationListsTest : public Factory {
 protected:
  RevocationListsTest() { open_order("PO-1", 100); }

  Certificate make(const std::string& device) { return process.issue(request_for(device, software_key())); }
  void revoke_it(const Certificate& certificate, RevocationReason reason = RevocationReason::key_compromise) {
    (void)revoke_certificate(ledger(), certificate.serial(), reason, clock, Commitment::for_real);
  }
  CertificateRevocationList publish(const WantedList& wanted) {
    return publish_list(
        ledger(), issuing.signer, issuing.certificate, wanted, clock,
        [&](const CertificateRevocationList& list) { write_file(directory / "crl.pem", list.pem()); });
  }
  CertificateRevocationList publish() { return publish({.validity = kOneDay}); }
  CertificateRevocationList publish_delta() {
    return publish({.kind = ListKind::delta, .validity = kOneDay});
  }
  // As if it had been published from a ledger that is gone.
  CertificateRevocationList list_naming(const std::vector<Certificate>& certificates, std::uint64_t number,
                                        std::uint64_t base = 0) {
    ListPlan plan{.number = number,
                  .base = base,
                  .this_update = clock.time,
                  .next_update = clock.time + std::chrono::hours(24),
                  .entries = {}};
    for (const Certificate& certificate : certificates) {
      plan.entries.push_back({.serial = certificate.serial().hex(),
                              .reason = RevocationReason::key_compromise,
                              .date = clock.time});
    }
    return sign_list(encode_list(plan, issuing.signer.facts), issuing.signer.key, issuing.certificate);
  }
  // OpenSSL and GnuTLS, about the list that was published last.
  void expect_openssl_agrees() {
    write_file(directory / "ca.pem", issuing.certificate.pem());
    std::string list = directory / "crl.pem";
    EXPECT_TRUE(judge({"openssl", "crl", "-in", list, "-CAfile", directory / "ca.pem", "-noout"}).accepted());
  }
  void expect_judges_agree() {
    expect_openssl_agrees();
    // A list is for a day: certtool judges it at the time of the test's clock.
    EXPECT_TRUE(judge({"faketime", format_time(clock.time), "certtool", "--verify-crl", "--infile",
                       directory / "crl.pem", "--load-ca-certificate", directory / "ca.pem"})
                    .accepted());
  }
  // Made by the database alone: what is tried is the list.
  void revoke_as_many_as(int count, const Certificate& like) {
    revoke_it(like);
    Database raw(directory / "ledger.db", std::vector<std::string_view>(Ledger::kSchemaVersion, ""));
    raw.sql() << "CREATE TEMP TABLE all_columns AS SELECT * FROM certificates";
    int more = count - 1;
    raw.sql()
        << "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :more) "
           "INSERT INTO certificates (serial, kind, subject, order_id, sender, profile, profile_digest, "
           "issuer_key_id, public_key, key_algorithm, key_id, not_before, not_after, tbs, tbs_digest, "
           "certificate, statement, state, revoked_at, revocation_reason) SELECT printf('5e%034x', i), kind, "
           "'many-' || i, order_id, sender, profile, profile_digest, issuer_key_id, 'key-' || i, "
           "key_algorithm, key_id, not_before, not_after, '', '', 'ff', '', 'revoked', revoked_at, "
           "revocation_reason FROM n, all_columns",
        soci::use(more);
  }
};

TEST_F(RevocationListsTest, NamesWhatIsRevokedAndWhy) {
  Certificate good = make("dev-1");
  Certificate bad = make("dev-2");
  Certificate unspecified = make("dev-3");
  revoke_it(bad, RevocationReason::privilege_withdrawn);
  revoke_it(unspecified, RevocationReason::unspecified);
  CertificateRevocationList list = publish();
  EXPECT_THAT(list.entries(), SizeIs(2));
  EXPECT_FALSE(list.is_revoked(good.serial()));
  EXPECT_EQ(list.find(bad.serial()).value().reason, RevocationReason::privilege_withdrawn);
  EXPECT_EQ(list.find(bad.serial()).value().date, clock.time);
  EXPECT_EQ(list.find(unspecified.serial()).value().reason, RevocationReason::unspecified);
  EXPECT_EQ(list.this_update(), clock.time);
  EXPECT_EQ(list.delta_base(), std::nullopt);
  EXPECT_NO_THROW(list.verify(issuing.certificate));
  expect_judges_agree();
  ASSERT_THAT(events("crl.published"), SizeIs(1));
  EXPECT_EQ(events("crl.published")[0]["sha256"], list.fingerprint());
}

TEST_F(RevocationListsTest, NumbersOnlyRise) {
  EXPECT_EQ(publish().number(), 1U);
  EXPECT_EQ(publish().number(), 2U);
  EXPECT_EQ(publish_delta().number(), 3U);
  EXPECT_EQ(publish().number(), 4U);
}

TEST_F(RevocationListsTest, ADeltaTellsWhatIsNewSinceTheLastCompleteOne) {
  Certificate first = make("dev-1");
  Certificate second = make("dev-2");
  Certificate third = make("dev-3");
  revoke_it(first);
  publish();
  revoke_it(second);
  CertificateRevocationList delta = publish_delta();
  EXPECT_EQ(delta.delta_base(), 1U);
  EXPECT_THAT(delta.entries(), SizeIs(1));
  EXPECT_TRUE(delta.is_revoked(second.serial()));
  revoke_it(third);
  EXPECT_THAT(publish_delta().entries(), SizeIs(2)) << "since the base, not since the last delta";
  EXPECT_THAT(publish().entries(), SizeIs(3));
  EXPECT_THAT(publish_delta().entries(), SizeIs(0));
}

TEST_F(RevocationListsTest, ADeltaNeedsACompleteOneBeforeIt) {
  EXPECT_EQ(code_of([&] { publish_delta(); }), ErrorCode::configuration);
}

TEST_F(RevocationListsTest, AnExpiredCertificateLeavesAfterItHasStoodThereOnceExpired) {
  Certificate bad = make("dev-1");
  revoke_it(bad);
  EXPECT_THAT(publish().entries(), SizeIs(1));
  clock.time = bad.not_after() + std::chrono::seconds(1);
  EXPECT_THAT(publish().entries(), SizeIs(1)) << "RFC 5280 section 5";
  EXPECT_THAT(publish().entries(), SizeIs(0));
}

TEST_F(RevocationListsTest, WhatWasRevokedAfterItExpiredStandsThereOnce) {
  Certificate bad = make("dev-1");
  clock.time = bad.not_after() + std::chrono::seconds(1);
  publish();
  revoke_it(bad);
  EXPECT_THAT(publish().entries(), SizeIs(1));
  EXPECT_THAT(publish().entries(), SizeIs(0));
}

TEST_F(RevocationListsTest, AListThatWasNeverWrittenCountsForNothingButItsNumber) {
  Certificate bad = make("dev-1");
  publish();
  revoke_it(bad);
  struct Death {};
  EXPECT_THROW((void)publish_list(ledger(), issuing.signer, issuing.certificate, {.validity = kOneDay}, clock,
                                  [](const CertificateRevocationList&) { throw Death(); }),
               Death);
  CertificateRevocationList delta = publish_delta();
  EXPECT_EQ(delta.number(), 3U);
  EXPECT_EQ(delta.delta_base(), 1U);
  EXPECT_TRUE(delta.is_revoked(bad.serial()));
}

TEST_F(RevocationListsTest, IsNeverBackDated) {
  publish();
  clock.time -= std::chrono::seconds(1);
  EXPECT_EQ(code_of([&] { publish(); }), ErrorCode::clock);
}

TEST_F(RevocationListsTest, IsNotFromBeforeACertificateOfTheLedger) {
  clock.time += std::chrono::days(100);
  make("dev-1");
  Time right = clock.time;
  clock.time -= std::chrono::seconds(1);
  EXPECT_EQ(code_of([&] { publish(); }), ErrorCode::clock);
  clock.time = right;
  EXPECT_EQ(publish().number(), 1U);
  clock.time -= std::chrono::days(50);
  EXPECT_EQ(code_of([&] { publish({.validity = kOneDay, .clock_was_ahead = true}); }), ErrorCode::clock)
      << "the clock was not ahead: it went back, and the list was sound";
  EXPECT_THAT(events("crl.disowned"), SizeIs(0));
}

TEST_F(RevocationListsTest, IsNotFromBeforeARevocationUnlessTheClockWasAheadThen) {
  Certificate bad = make("dev-1");
  Time today = clock.time;
  clock.time += std::chrono::days(100);
  revoke_it(bad);
  Time ahead = clock.time;
  clock.time = today;
  EXPECT_EQ(code_of([&] { publish(); }), ErrorCode::clock);
  CertificateRevocationList list = publish({.validity = kOneDay, .clock_was_ahead = true});
  EXPECT_EQ(list.find(bad.serial()).value().date, today) << "not later than the list itself";
  EXPECT_EQ(code_of([&] { publish(); }), ErrorCode::clock) << "the ledger goes on saying the later time";
  clock.time = ahead;
  EXPECT_EQ(publish().find(bad.serial()).value().date, ahead);
}

TEST_F(RevocationListsTest, AListThatIsRefusedDisownsNone) {
  Time today = clock.time;
  clock.time += std::chrono::days(400);
  publish();
  clock.time = today;
  EXPECT_EQ(
      code_of([&] { publish({.kind = ListKind::delta, .validity = kOneDay, .clock_was_ahead = true}); }),
      ErrorCode::configuration);
  EXPECT_THAT(events("crl.disowned"), SizeIs(0));
  EXPECT_EQ(code_of([&] { publish(); }), ErrorCode::clock) << "the later one is published still";
  EXPECT_EQ(publish({.validity = kOneDay, .clock_was_ahead = true}).number(), 2U);
  EXPECT_THAT(events("crl.disowned"), SizeIs(1));
}

TEST_F(RevocationListsTest, GoesOnBehindListsThatTheLedgerForgot) {
  Certificate known = make("dev-1");
  Certificate forgotten = certificate_under(
      issuing, station_plan("st-01", software_public_key(), clock.time, clock.time + std::chrono::days(30)));
  CertificateRevocationList complete = list_naming({forgotten}, 7);
  CertificateRevocationList delta = list_naming({known}, 9, 7);

  EXPECT_EQ(code_of([&] {
              publish({.validity = kOneDay, .held = {complete, delta}});
            }),
            ErrorCode::configuration)
      << "what was revoked is issued again";
  revoke_it(known);
  CertificateRevocationList list = publish({.validity = kOneDay, .held = {complete, delta}});

  EXPECT_EQ(list.number(), 10U);
  EXPECT_THAT(list.entries(), SizeIs(2));
  EXPECT_EQ(list.find(forgotten.serial()).value().reason, RevocationReason::key_compromise);
  EXPECT_THAT(publish({.validity = kOneDay, .held = {list, delta}}).entries(), SizeIs(2)) << "for ever";
}

TEST_F(RevocationListsTest, AnOlderDeltaSaysNothing) {
  Certificate known = make("dev-1");
  CertificateRevocationList list =
      publish({.validity = kOneDay, .held = {list_naming({}, 7), list_naming({known}, 6, 5)}});
  EXPECT_EQ(list.number(), 8U);
  EXPECT_THAT(list.entries(), SizeIs(0));
}

TEST_F(RevocationListsTest, ADeltaTakesACompleteOneThatTheLedgerKnows) {
  CertificateRevocationList known = publish();
  auto publish_beside = [&](CertificateRevocationList held) {
    return publish({.kind = ListKind::delta, .validity = kOneDay, .held = {std::move(held)}});
  };
  EXPECT_EQ(publish_beside(known).number(), 2U);
  EXPECT_EQ(code_of([&] { publish_beside(list_naming({}, 7)); }), ErrorCode::configuration);
}

TEST_F(RevocationListsTest, IsNotFromBeforeAListThatTheLedgerForgot) {
  CertificateRevocationList held = list_naming({}, 7);
  clock.time -= std::chrono::seconds(1);
  EXPECT_EQ(code_of([&] { publish({.validity = kOneDay, .held = {held}}); }), ErrorCode::clock);
  EXPECT_EQ(publish({.validity = kOneDay, .clock_was_ahead = true, .held = {held}}).number(), 8U);
}

TEST_F(RevocationListsTest, KeepsTheCertificatesOfOtherIssuersOut) {
  revoke_it(make("dev-1"));
  Identity other = fleetroot::issue({.common_name = "Another CA", .extensions = kCaExtensions});
  Signer signer{.key = other.key.get(),
                .public_key = other.certificate.public_key(),
                .facts = IssuerFacts::of(other.certificate)};
  CertificateRevocationList list = publish_list(ledger(), signer, other.certificate, {.validity = kOneDay},
                                                clock, [](const CertificateRevocationList&) {});
  EXPECT_THAT(list.entries(), SizeIs(0));
  EXPECT_EQ(list.number(), 1U) << "a sequence of its own";
}

TEST_F(RevocationListsTest, StationsAreOnItToo) {
  Certificate station = certify(
      ledger(), issuing.signer, SubjectKind::station, "st-01",
      station_plan("st-01", software_public_key(), clock.time, clock.time + std::chrono::days(30)), clock);
  revoke_it(station);
  EXPECT_TRUE(publish().is_revoked(station.serial()));
}

TEST_F(RevocationListsTest, ThousandsOfEntries) {
  revoke_as_many_as(2000, make("dev-1"));
  EXPECT_THAT(publish().entries(), SizeIs(2000));
  expect_judges_agree();
}

TEST_F(RevocationListsTest, AHundredThousandEntries) {
  Certificate one = make("dev-1");
  revoke_as_many_as(100'000, one);
  CertificateRevocationList list = publish();
  EXPECT_THAT(list.entries(), SizeIs(100'000));
  EXPECT_TRUE(list.is_revoked(one.serial()));
  EXPECT_TRUE(list.is_revoked(SerialNumber::from_hex("5e" + std::string(29, '0') + "1869f")));
  expect_openssl_agrees();  // certtool's time grows with the square of the length
}

}  // namespace
}  // namespace fleetroot::ca
