// Several processes at one order, and processes that die.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "tests/unit/factory_ca/factory.h"

namespace fleetroot::ca {
namespace {

using testing::SizeIs;

class IssuerRaces : public Factory {
 protected:
  // Four threads, so many devices each, more than the order has places for.
  void expect_an_exact_order(int devices, int quantity,
                             const std::function<Process&(int thread)>& process_of) {
    constexpr int kThreads = 4;
    open_order("PO-1", quantity);
    std::atomic<int> issued = 0;
    std::atomic<int> full = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < devices; ++i) {
          std::string id = "dev-" + std::to_string(t * 100 + i);
          try {
            EXPECT_EQ(process_of(t).issue(request_for(id, software_key())).common_name(), id);
            ++issued;
          } catch (const Error& error) {
            if (error.code() == ErrorCode::order_full) ++full;
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(issued, quantity);
    EXPECT_EQ(full, kThreads * devices - quantity) << "nobody is refused for another reason";
    EXPECT_EQ(used(), quantity);
    EXPECT_THAT(events("device.certified"), SizeIs(quantity));
  }

  Certificate enroll_station() {
    return certify(ledger(), issuing.signer, SubjectKind::station, "st-01",
                   station_plan("st-01", station_key_, clock.time, clock.time + std::chrono::days(30)),
                   clock);
  }
  ErrorCode refusal_of_station() {
    Submission submission{.sender = "st-01",
                          .request = request_,
                          .order = OrderId::parse("PO-1"),
                          .sender_key_id = key_identifier_of(station_key_)};
    return code_of([&] { (void)process.issue(submission); });
  }

  PublicKey station_key_ = software_public_key();
  EvpPkeyPtr key_ = software_key();
  CertificateRequest request_ = request_for("dev-1", key_);
};

TEST_F(IssuerRaces, FillAnOrderExactly) {
  std::vector<std::unique_ptr<Process>> processes;
  for (int i = 0; i < 4; ++i) processes.push_back(another_process());
  expect_an_exact_order(
      12, 17, [&](int thread) -> Process& { return *processes.at(static_cast<std::size_t>(thread)); });
}

// One issuer, as the server and the carried bundles use it.
TEST_F(IssuerRaces, ThreadsOfOneIssuerFillAnOrderExactly) {
  expect_an_exact_order(20, 61, [&](int) -> Process& { return process; });
  (void)ledger().log.verify([](const LogEntry&) {});
}

TEST_F(IssuerRaces, GiveOneDeviceOneCertificate) {
  constexpr int kThreads = 4;
  open_order("PO-1", 5);
  std::vector<Bytes> answers(kThreads);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] { answers[t] = another_process()->issue(request_).der(); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(answers, testing::Each(live("dev-1").value().certificate));
  EXPECT_EQ(used(), 1);
}

TEST_F(IssuerRaces, ReturnTheWinnersBytesToWhoCommitsSecond) {
  open_order("PO-1", 5);
  Bytes winner;
  when_looking(2, [&] { winner = another_process()->issue(request_).der(); });
  EXPECT_EQ(process.issue(request_).der(), winner);
  EXPECT_EQ(live("dev-1").value().certificate, winner);
  EXPECT_EQ(used(), 1);
  EXPECT_THAT(events("device.certified"), SizeIs(1));
}

// From its look at the order to its reservation nobody else decides anything: who comes in between waits.
TEST_F(IssuerRaces, GiveWhoComesMeanwhileTheSameBytes) {
  open_order("PO-1", 5);
  Bytes other;
  std::thread meanwhile;
  when_looking(1,
               [&] { meanwhile = std::thread([&] { other = another_process()->issue(request_).der(); }); });
  Bytes own = process.issue(request_).der();
  meanwhile.join();
  EXPECT_EQ(own, other);
  EXPECT_EQ(used(), 1);
  EXPECT_THAT(events("device.certified"), SizeIs(1));
}

TEST_F(IssuerRaces, LeaveTheLastPlaceToOne) {
  open_order("PO-1", 1);
  std::optional<ErrorCode> refusal;
  std::thread meanwhile;
  when_looking(1, [&] {
    meanwhile = std::thread([&] {
      refusal = code_of([&] { (void)another_process()->issue(request_for("dev-2", software_key())); });
    });
  });
  (void)process.issue(request_);
  meanwhile.join();
  EXPECT_EQ(refusal, ErrorCode::order_full);
  EXPECT_EQ(used(), 1);
}

TEST_F(IssuerRaces, LeaveOneKeyToOneDevice) {
  open_order("PO-1", 5);
  std::optional<ErrorCode> refusal;
  std::thread meanwhile;
  when_looking(1, [&] {
    meanwhile = std::thread(
        [&] { refusal = code_of([&] { (void)another_process()->issue(request_for("dev-2", key_)); }); });
  });
  (void)process.issue(request_);
  meanwhile.join();
  EXPECT_EQ(refusal, ErrorCode::key_reused);
  EXPECT_THAT(events("alarm.key_reused"), SizeIs(1));
  EXPECT_EQ(used(), 1);
}

TEST_F(IssuerRaces, HandNothingOutThatTheLedgerGaveUp) {
  open_order("PO-1", 5);
  when_looking(2, [&] { ledger().certificates.abandon(live("dev-1").value().serial); });
  EXPECT_EQ(code_of([&] { (void)another_process()->issue(request_); }), ErrorCode::busy);
  EXPECT_FALSE(live("dev-1"));
}

// While the token signed, and before anything is reserved: nothing is left of what it asked for.
TEST_F(IssuerRaces, GiveAStationThatWasRevokedMeanwhileNothing) {
  open_order("PO-1", 1);
  Certificate station = enroll_station();
  when_looking(2, [&] { revoke(station); });
  EXPECT_EQ(refusal_of_station(), ErrorCode::not_authorised);
  EXPECT_FALSE(live("dev-1"));
  EXPECT_EQ(used(), 0);
  EXPECT_EQ(refusal_of_station(), ErrorCode::not_authorised) << "and reserves nothing";
  EXPECT_EQ(used(), 0);
  EXPECT_THAT(events("device.certified"), SizeIs(0));

  (void)process.issue(request_);
  EXPECT_EQ(refusal_of_station(), ErrorCode::not_authorised) << "nor gets what there is already";
}

TEST_F(IssuerRaces, LeaveACertificateToWhoWasFirstWhenAStationIsRevoked) {
  open_order("PO-1", 1);
  Certificate station = enroll_station();
  std::optional<Certificate> first;
  when_looking(2, [&] {
    first = another_process()->issue(request_);
    revoke(station);
  });
  EXPECT_EQ(refusal_of_station(), ErrorCode::not_authorised);
  EXPECT_EQ(live("dev-1").value().certificate, first.value().der());
  EXPECT_EQ(used(), 1);
}

TEST_F(IssuerRaces, CommitNothingOnceTheIssuingCertificateIsRevoked) {
  open_order("PO-1", 1);
  CertificateRecord own;
  own.serial = issuing.certificate.serial().hex();
  own.kind = SubjectKind::authority;
  own.public_key = issuing.signer.public_key.fingerprint();
  {
    WriteTransaction transaction = ledger().write();
    ledger().certificates.reserve(own);
    ledger().certificates.commit(own.serial, issuing.certificate.der(), clock.time);
    transaction.commit();
  }
  when_looking(2, [&] { revoke(issuing.certificate); });
  EXPECT_EQ(code_of([&] { (void)process.issue(request_); }), ErrorCode::configuration);
  EXPECT_EQ(live("dev-1").value().state, CertificateState::reserved);
  EXPECT_THAT(events("device.certified"), SizeIs(0));
}

TEST_F(IssuerRaces, ADeathBeforeTheReservationLeavesNothing) {
  open_order("PO-1", 5);
  struct Death {};
  when_looking(1, [] { throw Death(); });
  EXPECT_THROW((void)another_process()->issue(request_), Death);
  EXPECT_FALSE(live("dev-1"));
  EXPECT_EQ(used(), 0);
}

TEST_F(IssuerRaces, ADeadProcesssReservationIsAdopted) {
  open_order("PO-1", 1);
  crash_before_commit(request_);
  CertificateRecord reservation = live("dev-1").value();
  EXPECT_EQ(reservation.state, CertificateState::reserved);
  EXPECT_EQ(used(), 1);
  close_order("PO-1");
  clock.time += std::chrono::hours(24);
  Certificate certificate = process.issue(request_);
  EXPECT_EQ(certificate.serial().hex(), reservation.serial);
  EXPECT_EQ(certificate.not_before(), reservation.not_before);
  EXPECT_EQ(used(), 1) << "the place was taken already";
}

TEST_F(IssuerRaces, AReservationIsNotResumedByAClockThatWentBack) {
  open_order("PO-1", 2);
  crash_before_commit(request_);
  clock.time += std::chrono::hours(24);
  (void)process.issue(request_for("dev-2", software_key()));
  clock.time -= std::chrono::hours(1);
  EXPECT_EQ(code_of([&] { (void)process.issue(request_); }), ErrorCode::clock);
  EXPECT_EQ(live("dev-1").value().state, CertificateState::reserved);
  clock.time += std::chrono::hours(1);
  EXPECT_NO_THROW((void)process.issue(request_));
}

TEST_F(IssuerRaces, NothingIsCommittedBeforeItWasBegun) {
  open_order("PO-1", 1);
  when_looking(2, [&] { clock.time -= std::chrono::hours(24); });
  Certificate certificate = process.issue(request_);
  EXPECT_EQ(live("dev-1").value().issued_at, format_time(certificate.not_before()));
}

TEST_F(IssuerRaces, AReservationOfAnotherProfileIsGivenUp) {
  open_order("PO-1", 1);
  crash_before_commit(request_);
  std::string serial = live("dev-1").value().serial;
  std::string toml(shipped_profile_text("device"));
  write_profile("device", toml.replace(toml.find("\"10 years\""), 10, "\"5 years\""));
  clock.time += std::chrono::hours(24);
  Certificate certificate = process.issue(request_);
  EXPECT_NE(certificate.serial().hex(), serial);
  EXPECT_EQ(certificate.not_before(), clock.time);
  EXPECT_EQ(format_time(certificate.not_after()), "2031-11-25T00:00:00Z");
  EXPECT_EQ(ledger().certificates.with_serial(serial).value().state, CertificateState::abandoned);
  EXPECT_EQ(used(), 1);
}

// A profile's 100 days, less an hour of the first, and less the whole of it.
TEST_F(IssuerRaces, AReservationIsGivenUpOnceAHundredthOfItsLifeIsOver) {
  std::string toml(shipped_profile_text("device"));
  write_profile("device", toml.replace(toml.find("\"10 years\""), 10, "\"100 days\""));
  open_order("PO-1", 2);
  CertificateRequest other = request_for("dev-2", software_key());
  crash_before_commit(request_);
  crash_before_commit(other);
  std::string younger = live("dev-1").value().serial;
  std::string older = live("dev-2").value().serial;
  clock.time += std::chrono::hours(23);
  EXPECT_EQ(process.issue(request_).serial().hex(), younger);
  clock.time += std::chrono::hours(1);
  Certificate anew = process.issue(other);
  EXPECT_NE(anew.serial().hex(), older);
  EXPECT_EQ(anew.not_before(), clock.time);
  EXPECT_EQ(ledger().certificates.with_serial(older).value().state, CertificateState::abandoned);
  EXPECT_EQ(used(), 2);
}

TEST_F(IssuerRaces, WhatAnOlderLedgerHadGivenUpIsItsSubjectsStill) {
  open_order("PO-1", 3);
  std::vector<std::string> given_up;
  for (int i = 0; i < 3; ++i) {
    crash_before_commit(request_);
    given_up.push_back(live("dev-1").value().serial);
    if (i < 2) ledger().certificates.abandon(given_up.back());
    clock.time += std::chrono::seconds(1);
  }
  age_ledger(8);
  Ledger opened(directory.path() / "ledger.db");
  std::string key = request_.public_key().fingerprint();
  EXPECT_EQ(opened.certificates.with_public_key(key).value().serial, given_up[2]) << "the live one";
  opened.certificates.abandon(given_up[2]);
  EXPECT_EQ(opened.certificates.with_public_key(key).value().serial, given_up[0]) << "the first";
}

TEST_F(IssuerRaces, AReservationOfAnotherIssuingKeyIsGivenUp) {
  open_order("PO-1", 1);
  crash_before_commit(request_);
  SoftwareCa successor = make_issuing(root, "Factory CA 2");
  Certificate certificate = Process(directory.path(), successor, clock).issue(request_);
  EXPECT_EQ(certificate.issuer(), "CN=Factory CA 2");
  EXPECT_EQ(used(), 1);
}

TEST_F(IssuerRaces, AReservationUnderARenewedIssuingCertificateIsGivenUp) {
  open_order("PO-1", 1);
  crash_before_commit(request_);
  std::string serial = live("dev-1").value().serial;
  Signer renamed{.key = issuing.signer.key,
                 .public_key = issuing.signer.public_key,
                 .facts = IssuerFacts::of(make_issuing(root, "Factory CA, renewed").certificate)};
  renamed.facts.key_identifier = issuing.signer.facts.key_identifier;
  Ledger ledger_of_other(directory.path() / "ledger.db");
  Issuer other(ledger_of_other, renamed, issuing.certificate, directory.path() / "profiles", kStationValidity,
               clock);
  Submission submission{.sender = "operator", .request = request_, .order = OrderId::parse("PO-1")};
  Certificate certificate = Certificate::from_der(run_alone(other.issue(submission)));
  EXPECT_NE(certificate.serial().hex(), serial);
  EXPECT_EQ(certificate.issuer(), "CN=Factory CA\\, renewed");
  EXPECT_EQ(used(), 1);
}

TEST_F(IssuerRaces, AReservationThatSomebodyChangedIsNeverSigned) {
  open_order("PO-1", 1);
  crash_before_commit(request_);
  CertificateRecord reservation = live("dev-1").value();
  // The notBefore's first digit: still a certificate, and not the one that was planned.
  Bytes changed = reservation.tbs;
  BytesView not_before = as_bytes("261124000000Z");
  auto found = std::search(changed.begin(), changed.end(), not_before.begin(), not_before.end());
  ASSERT_NE(found, changed.end());
  *found = '1';
  std::string tbs = to_hex(changed);
  Database raw(directory.path() / "ledger.db", std::vector<std::string_view>(Ledger::kSchemaVersion, ""));
  raw.sql() << "UPDATE certificates SET tbs = :tbs WHERE serial = :serial", soci::use(tbs),
      soci::use(reservation.serial);
  Certificate certificate = process.issue(request_);
  EXPECT_NE(certificate.serial().hex(), reservation.serial);
  EXPECT_EQ(certificate.not_before(), clock.time);
  EXPECT_EQ(ledger().certificates.with_serial(reservation.serial).value().state, CertificateState::abandoned);
}

TEST_F(IssuerRaces, AReservationIsNoWayAroundTheProfilesAlgorithms) {
  open_order("PO-1", 1);
  crash_before_commit(request_);
  std::string toml(shipped_profile_text("device"));
  std::size_t list = toml.find("\nkey_algorithms = ") + 1;
  write_profile("device", toml.replace(list, toml.find('\n', list) - list, "key_algorithms = [\"p384\"]"));
  EXPECT_EQ(code_of([&] { (void)process.issue(request_); }), ErrorCode::bad_request)
      << "not algorithm_not_allowed, for which a station gives the key up";
}

TEST_F(IssuerRaces, AReservationIsForItsKeyAlone) {
  open_order("PO-1", 5);
  crash_before_commit(request_);
  EXPECT_EQ(code_of([&] { (void)process.issue(request_for("dev-1", software_key())); }),
            ErrorCode::device_has_certificate);
  EXPECT_EQ(code_of([&] { (void)process.issue(request_for("dev-2", key_)); }), ErrorCode::key_reused);
  EXPECT_EQ(used(), 1);
}

// Station and list were looked up for the order that was asked for.
TEST_F(IssuerRaces, AReservationIsForItsOrderAlone) {
  open_order("PO-1", 1);
  open_order("PO-2", 1, "other-[0-9]+");
  crash_before_commit(request_);
  close_order("PO-1");
  {
    WriteTransaction transaction = ledger().write();
    ledger().station_orders.bind("st-01", {OrderId::parse("PO-2")});
    transaction.commit();
  }
  Error error = error_of([&] { (void)process.issue(request_, "PO-2", "st-01"); });
  EXPECT_EQ(error.code(), ErrorCode::bad_request) << "not not_on_order, for which a station gives the key up";
  EXPECT_EQ(error.message(), "device dev-1 belongs to order PO-1, not to PO-2");
  EXPECT_EQ(code_of([&] { (void)process.issue(request_, "PO-2"); }), ErrorCode::bad_request);
  EXPECT_THAT(events("device.certified"), SizeIs(0));
  EXPECT_EQ(live("dev-1").value().state, CertificateState::reserved);
  EXPECT_NO_THROW((void)process.issue(request_)) << "it resumes where it was begun";
  EXPECT_EQ(live("dev-1").value().order, "PO-1");
  EXPECT_EQ(used("PO-2"), 0);
}

}  // namespace
}  // namespace fleetroot::ca
