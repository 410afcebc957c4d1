// After the line: a new key for the same device, once; revoked and scrapped devices.
#include "factory-ca/later_life.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "factory-ca/ledger_check.h"
#include "tests/unit/factory_ca/factory.h"

namespace fleetroot::ca {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class LaterLife : public Factory {
 protected:
  LaterLife() { open_order("PO-1", 3); }

  static DeviceId device(const char* id) { return DeviceId::parse(id); }
  Rework authorise(const char* id = "dev-1", Commitment commitment = Commitment::for_real) {
    return authorise_rework(ledger(), device(id), "token broken", clock, commitment);
  }
  Scrapped scrap_it(const char* cause = "damaged", Commitment commitment = Commitment::for_real) {
    return scrap(ledger(), device("dev-1"), ScrapCause::parse(cause), clock, commitment);
  }
  CertificateRecord record_of(const Certificate& certificate) {
    return ledger().certificates.with_serial(certificate.serial().hex()).value();
  }
  // A refusal, and the same one again.
  ErrorCode refusal_of(const CertificateRequest& request, const std::string& order = "PO-1") {
    ErrorCode code = code_of([&] { (void)process.issue(request, order); });
    EXPECT_EQ(code_of([&] { (void)another_process()->issue(request, order); }), code);
    return code;
  }
  std::vector<ReworkState> reworks() {
    std::vector<ReworkState> states;
    ledger().reworks.each([&](const Rework& rework) { states.push_back(rework.state); });
    return states;
  }

  CertificateRequest first_ = request_for("dev-1", software_key());
  CertificateRequest second_ = request_for("dev-1", software_key());
  CertificateRequest third_ = request_for("dev-1", software_key());
};

TEST_F(LaterLife, AReworkGivesOneNewKeyACertificateAndSupersedesTheOldOne) {
  Certificate old = process.issue(first_);
  clock.time += std::chrono::hours(1);
  authorise();
  Certificate replacement = process.issue(second_);
  EXPECT_EQ(replacement.public_key(), second_.public_key());
  EXPECT_EQ(record_of(old).state, CertificateState::revoked);
  EXPECT_EQ(record_of(old).revocation_reason, RevocationReason::superseded);
  EXPECT_EQ(record_of(old).revoked_at, format_time(clock.time));
  EXPECT_EQ(record_of(replacement).supersedes, old.serial().hex());
  EXPECT_EQ(record_of(replacement).generation, 2);
  EXPECT_EQ(process.issue(second_).der(), replacement.der()) << "the same again";
  EXPECT_EQ(refusal_of(third_), ErrorCode::device_has_certificate) << "it is used up";
  EXPECT_EQ(refusal_of(first_), ErrorCode::device_revoked) << "the broken token is out for ever";
  EXPECT_THAT(reworks(), ElementsAre(ReworkState::used));
  EXPECT_EQ(used(), 1) << "the device keeps its place";
  ASSERT_THAT(events("device.revoked"), SizeIs(1));
  EXPECT_EQ(events("device.revoked")[0]["reason"], "superseded");
  EXPECT_EQ(events("device.certified")[1]["supersedes"], old.serial().hex());
  EXPECT_THAT(events("rework.authorised"), SizeIs(1));
}

// What was refused before, and whose key is gone since, is no way to use a rework up.
TEST_F(LaterLife, AReworkIsForWhatWasAskedForAfterIt) {
  Certificate old = process.issue(first_);
  Submission submission{
      .sender = "st-01", .request = second_, .order = OrderId::parse("PO-1"), .made = clock.time};
  auto refusal = [&] { return error_of([&] { (void)process.issue(submission); }); };
  EXPECT_EQ(refusal().code(), ErrorCode::device_has_certificate);
  clock.time += std::chrono::seconds(61);
  authorise();
  EXPECT_EQ(refusal().code(), ErrorCode::device_has_certificate);
  EXPECT_THAT(refusal().message(), AllOf(HasSubstr("was made at"), HasSubstr("before its rework")));
  submission.made.reset();
  EXPECT_EQ(refusal().code(), ErrorCode::device_has_certificate);
  EXPECT_THAT(refusal().message(), HasSubstr("does not say when"));
  EXPECT_EQ(live("dev-1").value().certificate, old.der());
  EXPECT_THAT(reworks(), ElementsAre(ReworkState::authorised));

  submission.made = clock.time - std::chrono::seconds(60);  // by a clock that is a little behind
  EXPECT_NO_THROW(process.issue(submission));
  EXPECT_THAT(reworks(), ElementsAre(ReworkState::used));
}

TEST_F(LaterLife, AReworkOfNoTimeIsNone) {
  (void)process.issue(first_);
  authorise();
  Database raw(directory.path() / "ledger.db", std::vector<std::string_view>(Ledger::kSchemaVersion, ""));
  raw.sql() << "UPDATE reworks SET authorised_at = 'yesterday'";
  EXPECT_EQ(refusal_of(second_), ErrorCode::io);
}

TEST_F(LaterLife, WhatWasBegunUnderAReworkGoesOnWhateverItsRequestSays) {
  process.issue(first_);
  authorise();
  crash_before_commit(second_);
  std::string reserved = ledger().certificates.standing(SubjectKind::device, "dev-1").reserved.value().serial;
  Certificate replacement =
      process.issue({.sender = "operator", .request = second_, .order = OrderId::parse("PO-1")});
  EXPECT_EQ(replacement.serial().hex(), reserved);
}

TEST_F(LaterLife, TheOldKeyStillWorksUntilTheNewOneComes) {
  Certificate old = process.issue(first_);
  authorise();
  EXPECT_EQ(process.issue(first_).der(), old.der());
  EXPECT_THAT(reworks(), ElementsAre(ReworkState::authorised));
}

TEST_F(LaterLife, AReworkIsOfOneDevice) {
  process.issue(first_);
  process.issue(request_for("dev-2", software_key()));
  authorise("dev-2");
  EXPECT_EQ(refusal_of(second_), ErrorCode::device_has_certificate);
  authorise("dev-1");
  open_order("PO-2", 3);
  EXPECT_EQ(refusal_of(second_, "PO-2"), ErrorCode::not_on_order) << "on its own order only";
  EXPECT_NO_THROW(process.issue(second_));
}

TEST_F(LaterLife, AKnownKeyIsNoNewKey) {
  EvpPkeyPtr other = software_key();
  process.issue(first_);
  process.issue(request_for("dev-2", other));
  authorise();
  EXPECT_EQ(refusal_of(request_for("dev-1", other)), ErrorCode::key_reused);
  EXPECT_THAT(events("alarm.key_reused"), SizeIs(2));
  EXPECT_THAT(reworks(), ElementsAre(ReworkState::authorised)) << "and uses nothing up";
}

TEST_F(LaterLife, AReworkNeedsNoPlaceAndNoOpenOrder) {
  process.issue(first_);
  process.issue(request_for("dev-2", software_key()));
  process.issue(request_for("dev-3", software_key()));
  close_order("PO-1");
  authorise();
  EXPECT_NO_THROW(process.issue(second_));
  EXPECT_EQ(used(), 3);
}

TEST_F(LaterLife, AnAuthorisationSaidTwiceIsOne) {
  process.issue(first_);
  Rework rework = authorise();
  EXPECT_EQ(authorise().id, rework.id);
  EXPECT_THAT(reworks(), SizeIs(1));
  EXPECT_THAT(events("rework.authorised"), SizeIs(1));
}

TEST_F(LaterLife, ADryRunAuthorisesNothing) {
  process.issue(first_);
  authorise("dev-1", Commitment::dry_run);
  EXPECT_THAT(reworks(), IsEmpty());
  EXPECT_EQ(refusal_of(second_), ErrorCode::device_has_certificate);
}

TEST_F(LaterLife, NothingIsReworkedThatWasNeverMade) {
  EXPECT_EQ(code_of([&] { authorise(); }), ErrorCode::not_on_order);
}

TEST_F(LaterLife, AWithdrawnReworkAllowsNothing) {
  process.issue(first_);
  authorise();
  withdraw_rework(ledger(), device("dev-1"), clock);
  EXPECT_EQ(refusal_of(second_), ErrorCode::device_has_certificate);
  EXPECT_EQ(code_of([&] { withdraw_rework(ledger(), device("dev-1"), clock); }), ErrorCode::not_on_order);
  authorise();
  EXPECT_NO_THROW(process.issue(second_));
  EXPECT_THAT(reworks(), ElementsAre(ReworkState::withdrawn, ReworkState::used));
}

TEST_F(LaterLife, ACrashDuringAReworkLeavesTheOldOneLiveAndTheReworkOpen) {
  Certificate old = process.issue(first_);
  authorise();
  crash_before_commit(second_);
  EXPECT_EQ(record_of(old).state, CertificateState::issued);
  EXPECT_THAT(reworks(), ElementsAre(ReworkState::authorised));
  std::string reserved = ledger().certificates.standing(SubjectKind::device, "dev-1").reserved.value().serial;
  Certificate replacement = process.issue(second_);
  EXPECT_EQ(replacement.serial().hex(), reserved) << "the same bytes are signed";
  EXPECT_EQ(record_of(old).state, CertificateState::revoked);
  EXPECT_EQ(used(), 1);
}

TEST_F(LaterLife, AfterACrashAnotherNewKeyMayComeInstead) {
  process.issue(first_);
  authorise();
  crash_before_commit(second_);
  Certificate replacement = process.issue(third_);
  EXPECT_EQ(live("dev-1").value().serial, replacement.serial().hex());
  EXPECT_EQ(refusal_of(second_), ErrorCode::device_has_certificate);
  EXPECT_EQ(used(), 1);
}

TEST_F(LaterLife, AWithdrawalAfterACrashHolds) {
  Certificate old = process.issue(first_);
  authorise();
  crash_before_commit(second_);
  withdraw_rework(ledger(), device("dev-1"), clock);
  EXPECT_EQ(refusal_of(second_), ErrorCode::device_has_certificate);
  EXPECT_EQ(process.issue(first_).der(), old.der());
}

TEST_F(LaterLife, AWithdrawalBetweenSignatureAndCommitHolds) {
  Certificate old = process.issue(first_);
  authorise();
  when_looking(2, [&] { withdraw_rework(another_process()->ledger, device("dev-1"), clock); });
  EXPECT_EQ(code_of([&] { (void)process.issue(second_); }), ErrorCode::busy);
  EXPECT_EQ(record_of(old).state, CertificateState::issued);
  EXPECT_EQ(refusal_of(second_), ErrorCode::device_has_certificate);
}

TEST_F(LaterLife, AReworkResolvesAReservationThatACrashLeft) {
  crash_before_commit(first_);
  EXPECT_EQ(refusal_of(second_), ErrorCode::device_has_certificate) << "another key is begun";
  authorise();
  Certificate certificate = process.issue(second_);
  EXPECT_EQ(live("dev-1").value().serial, certificate.serial().hex());
  EXPECT_EQ(refusal_of(first_), ErrorCode::device_has_certificate);
  EXPECT_EQ(used(), 1);
}

TEST_F(LaterLife, WhatWasBegunUnderAReworkUsesItUp) {
  crash_before_commit(first_);
  authorise();
  crash_before_commit(second_);
  std::string reserved = live("dev-1").value().serial;
  EXPECT_EQ(process.issue(second_).serial().hex(), reserved) << "the same bytes are signed";
  EXPECT_THAT(reworks(), ElementsAre(ReworkState::used));
  EXPECT_EQ(events("device.certified")[0]["rework"], 1);
  EXPECT_EQ(refusal_of(third_), ErrorCode::device_has_certificate);
  EXPECT_EQ(used(), 1);
}

TEST_F(LaterLife, WhatWasBegunUnderAReworkEndsWithIt) {
  crash_before_commit(first_);
  authorise();
  crash_before_commit(second_);
  withdraw_rework(ledger(), device("dev-1"), clock);
  for (const CertificateRequest* request : {&first_, &second_, &third_})
    EXPECT_EQ(refusal_of(*request), ErrorCode::device_has_certificate);
  EXPECT_THAT(error_of([&] { (void)process.issue(second_); }).message(), HasSubstr("withdrawn"));
  std::string reserved = live("dev-1").value().serial;
  authorise();
  EXPECT_NE(process.issue(second_).serial().hex(), reserved) << "another rework begins anew";
  EXPECT_THAT(reworks(), ElementsAre(ReworkState::withdrawn, ReworkState::used));
  EXPECT_EQ(used(), 1);
}

TEST_F(LaterLife, WhatAnOlderLedgerBeganUnderAReworkEndsWithIt) {
  crash_before_commit(first_);
  authorise();
  crash_before_commit(second_);
  crash_before_commit(request_for("dev-2", software_key()));
  age_ledger(5, "ALTER TABLE certificates DROP COLUMN rework");
  auto rework_of = [&](const char* name) {
    return another_process()->ledger.certificates.standing(SubjectKind::device, name).reserved.value().rework;
  };
  EXPECT_EQ(rework_of("dev-1"), 1);
  EXPECT_EQ(rework_of("dev-2"), 0);
}

TEST_F(LaterLife, ARevokedDeviceComesBackByAReworkAlone) {
  Certificate old = process.issue(first_);
  Revoked revoked = revoke_certificate(ledger(), device("dev-1"), RevocationReason::key_compromise, clock,
                                       Commitment::for_real);
  EXPECT_TRUE(revoked.is_new);
  EXPECT_EQ(revoked.certificate.serial, old.serial().hex());
  EXPECT_EQ(refusal_of(first_), ErrorCode::device_revoked);
  EXPECT_EQ(refusal_of(second_), ErrorCode::device_revoked);
  authorise();
  EXPECT_EQ(refusal_of(first_), ErrorCode::device_revoked) << "not with the old key";
  Certificate replacement = process.issue(second_);
  EXPECT_EQ(record_of(replacement).supersedes, old.serial().hex());
  EXPECT_EQ(record_of(old).revocation_reason, RevocationReason::key_compromise) << "the first word stays";
  EXPECT_EQ(used(), 1);
}

TEST_F(LaterLife, ARevocationSaidTwiceKeepsItsFirstReason) {
  Certificate old = process.issue(first_);
  clock.time += std::chrono::hours(1);
  auto say = [&](RevocationReason reason, Commitment commitment) {
    return revoke_certificate(ledger(), old.serial(), reason, clock, commitment);
  };
  EXPECT_TRUE(say(RevocationReason::superseded, Commitment::dry_run).is_new);
  EXPECT_EQ(record_of(old).state, CertificateState::issued);
  EXPECT_TRUE(say(RevocationReason::superseded, Commitment::for_real).is_new);
  EXPECT_FALSE(say(RevocationReason::key_compromise, Commitment::for_real).is_new);
  EXPECT_EQ(record_of(old).revocation_reason, RevocationReason::superseded);
  EXPECT_THAT(events("device.revoked"), SizeIs(1));
}

TEST_F(LaterLife, NothingIsRevokedBeforeItWasIssued) {
  Certificate certificate = process.issue(first_);
  clock.time -= std::chrono::seconds(1);
  for (Commitment commitment : {Commitment::dry_run, Commitment::for_real}) {
    EXPECT_EQ(code_of([&] {
                (void)revoke_certificate(ledger(), certificate.serial(), RevocationReason::key_compromise,
                                         clock, commitment);
              }),
              ErrorCode::clock);
    EXPECT_EQ(code_of([&] { (void)scrap_it("stolen", commitment); }), ErrorCode::clock);
  }
  EXPECT_EQ(record_of(certificate).state, CertificateState::issued);
  clock.time += std::chrono::seconds(1);
  EXPECT_TRUE(scrap_it("stolen").is_new);
}

TEST_F(LaterLife, NothingIsRevokedForAWhile) {
  Certificate old = process.issue(first_);
  for (RevocationReason reason : {RevocationReason::certificate_hold, RevocationReason::remove_from_crl}) {
    EXPECT_EQ(code_of([&] {
                (void)revoke_certificate(ledger(), old.serial(), reason, clock, Commitment::for_real);
              }),
              ErrorCode::usage);
  }
  EXPECT_EQ(record_of(old).state, CertificateState::issued);
}

TEST_F(LaterLife, WhatWasNeverIssuedIsNotRevoked) {
  crash_before_commit(first_);
  EXPECT_EQ(code_of([&] {
              (void)revoke_certificate(ledger(), device("dev-1"), RevocationReason::superseded, clock,
                                       Commitment::for_real);
            }),
            ErrorCode::not_on_order);
  EXPECT_EQ(code_of([&] {
              (void)revoke_certificate(ledger(), SerialNumber::random(), RevocationReason::superseded, clock,
                                       Commitment::for_real);
            }),
            ErrorCode::not_on_order);
}

TEST_F(LaterLife, AScrappedDeviceIsRevokedAndRefusedForEver) {
  Certificate old = process.issue(first_);
  Scrapped scrapped = scrap_it("stolen");
  EXPECT_EQ(scrapped.revoked.value().serial, old.serial().hex());
  EXPECT_EQ(record_of(old).revocation_reason, RevocationReason::key_compromise);
  EXPECT_EQ(refusal_of(first_), ErrorCode::device_scrapped);
  EXPECT_EQ(refusal_of(second_), ErrorCode::device_scrapped);
  Error error = error_of([&] { authorise(); });
  EXPECT_EQ(error.code(), ErrorCode::device_scrapped);
  EXPECT_THAT(error.message(), AllOf(HasSubstr("dev-1"), HasSubstr("stolen")));
  EXPECT_EQ(used(), 1) << "its place is used";
  EXPECT_FALSE(scrap_it("damaged").is_new);
  EXPECT_EQ(scrap_it("damaged").device.cause, "stolen") << "the first word stays";
  EXPECT_THAT(events("device.scrapped"), SizeIs(1));
}

TEST_F(LaterLife, ADryRunScrapsNothing) {
  Certificate old = process.issue(first_);
  EXPECT_EQ(scrap_it("damaged", Commitment::dry_run).revoked.value().serial, old.serial().hex());
  EXPECT_EQ(process.issue(first_).der(), old.der());
}

TEST_F(LaterLife, ADeviceIsScrappedBeforeItsFirstCertificate) {
  EXPECT_FALSE(scrap_it("failed-test").revoked);
  EXPECT_EQ(refusal_of(first_), ErrorCode::device_scrapped);
  EXPECT_EQ(code_of([&] {
              (void)scrap(ledger(), device("other-1"), ScrapCause::parse("damaged"), clock,
                          Commitment::for_real);
            }),
            ErrorCode::not_on_order)
      << "a typing error scraps nobody";
}

TEST_F(LaterLife, ScrappingEndsWhatIsUnderWay) {
  crash_before_commit(first_);
  EXPECT_EQ(used(), 1);
  authorise();
  scrap_it();
  EXPECT_EQ(used(), 0) << "no certificate came of the reservation";
  EXPECT_THAT(reworks(), ElementsAre(ReworkState::withdrawn));
  EXPECT_EQ(refusal_of(first_), ErrorCode::device_scrapped);
}

TEST_F(LaterLife, ScrappingBetweenSignatureAndCommitHolds) {
  when_looking(2, [&] {
    (void)scrap(another_process()->ledger, device("dev-1"), ScrapCause::parse("stolen"), clock,
                Commitment::for_real);
  });
  EXPECT_EQ(code_of([&] { (void)process.issue(first_); }), ErrorCode::busy);
  EXPECT_FALSE(live("dev-1"));
  EXPECT_EQ(refusal_of(first_), ErrorCode::device_scrapped);
  EXPECT_EQ(used(), 0);
}

TEST_F(LaterLife, AKeyWhoseReservationWasScrappedIsStillThatDevices) {
  EvpPkeyPtr key = software_key();
  crash_before_commit(request_for("dev-1", key));
  scrap_it("cloned");
  EXPECT_EQ(refusal_of(request_for("dev-2", key)), ErrorCode::key_reused);
  ASSERT_THAT(events("alarm.key_reused"), SizeIs(2));
  EXPECT_THAT(std::string(events("alarm.key_reused")[0]["message"]), HasSubstr("device dev-1"));
}

TEST_F(LaterLife, AKeyWhoseReservationAReworkGaveUpIsStillThatDevices) {
  EvpPkeyPtr key = software_key();
  crash_before_commit(request_for("dev-1", key));
  authorise();
  (void)process.issue(second_);
  EXPECT_EQ(refusal_of(request_for("dev-2", key)), ErrorCode::key_reused);
  EXPECT_EQ(code_of([&] {
              certify(ledger(), issuing.signer, SubjectKind::station, "st-01",
                      station_plan("st-01", PublicKey::from_evp(key.get()), clock.time,
                                   clock.time + std::chrono::days(30)),
                      clock);
            }),
            ErrorCode::key_reused);
  EXPECT_EQ(refusal_of(request_for("dev-1", key)), ErrorCode::device_has_certificate);
  authorise();
  EXPECT_NO_THROW((void)process.issue(request_for("dev-1", key))) << "it never had a certificate";
}

TEST(ScrapCauses, AreAShortList) {
  EXPECT_EQ(ScrapCause::parse("lost").reason(), RevocationReason::key_compromise);
  EXPECT_EQ(ScrapCause::parse("end-of-life").reason(), RevocationReason::cessation_of_operation);
  EXPECT_THAT(error_of([] { (void)ScrapCause::parse("bored"); }).hint(), HasSubstr("damaged"));
}

// Once, somebody's typing error in the clock.
class ClockWasAhead : public LaterLife {
 protected:
  ClockWasAhead() {
    before_ = process.issue(request_for("dev-0", software_key()));
    clock.time += kAhead;
    ahead_ = process.issue(first_);
    crash_before_commit(reserved_);
    clock.time -= kAhead;
    EXPECT_EQ(used(), 3);
  }
  Disowned disown(Commitment commitment = Commitment::for_real) {
    return disown_later(ledger(), issuing.certificate, clock, commitment);
  }

  static constexpr std::chrono::hours kAhead{24 * 3000};
  CertificateRequest reserved_ = request_for("dev-2", software_key());
  std::optional<Certificate> before_, ahead_;
};

TEST_F(ClockWasAhead, WhatItDatedIsRevokedOrGivenUpAndHoldsNothingUp) {
  EXPECT_EQ(refusal_of(reserved_), ErrorCode::clock);
  Disowned disowned = disown();
  EXPECT_THAT(disowned.revoked, SizeIs(1));
  EXPECT_EQ(disowned.given_up, 1U);
  EXPECT_EQ(record_of(*before_).state, CertificateState::issued);
  EXPECT_EQ(record_of(*ahead_).state, CertificateState::revoked);
  EXPECT_EQ(record_of(*ahead_).revoked_at, format_time(clock.time));
  EXPECT_EQ(used(), 2) << "a reservation gives its place back";

  EXPECT_EQ(process.issue(reserved_).not_before(), clock.time) << "nobody has seen a certificate for its key";
  EXPECT_EQ(refusal_of(first_), ErrorCode::device_revoked);
  authorise();
  clock.time -= std::chrono::seconds(1);
  EXPECT_EQ(refusal_of(second_), ErrorCode::clock) << "what counts holds it up as before";
  clock.time += std::chrono::seconds(1);
  EXPECT_EQ(process.issue(second_).not_before(), clock.time);
  EXPECT_EQ(used(), 3);
  EXPECT_NO_THROW(check_ledger(ledger()));
}

TEST_F(ClockWasAhead, ADryRunAndASecondRunChangeNothing) {
  EXPECT_THAT(disown(Commitment::dry_run).revoked, SizeIs(1));
  EXPECT_EQ(record_of(*ahead_).state, CertificateState::issued);
  EXPECT_EQ(refusal_of(reserved_), ErrorCode::clock);
  (void)disown();
  Disowned again = disown();
  EXPECT_THAT(again.revoked, IsEmpty());
  EXPECT_EQ(again.given_up, 0U);
  ASSERT_THAT(events("certificates.disowned"), SizeIs(1));
  EXPECT_EQ(events("certificates.disowned").front()["certificates"], 2);
}

TEST_F(ClockWasAhead, ACaThatIsItselfFromLaterTakesNothingBack) {
  clock.time = issuing.certificate.not_before() - std::chrono::seconds(1);
  EXPECT_EQ(code_of([&] { (void)disown(); }), ErrorCode::clock);
  EXPECT_THAT(events("certificates.disowned"), IsEmpty());
}

}  // namespace
}  // namespace fleetroot::ca
