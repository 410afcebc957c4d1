// The ledger's own promises, which hold whatever the code above it does.
#include "factory-ca/ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/expect_error.h"
#include "tests/scratch_directory.h"
#include "tests/unit/factory_ca/software_ca.h"

namespace fleetroot::ca {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class LedgerTest : public testing::Test {
 protected:
  CertificateRecord record(const std::string& serial, const std::string& subject, const std::string& key,
                           SubjectKind kind = SubjectKind::device) const {
    return {.serial = serial,
            .kind = kind,
            .subject = subject,
            .order = kind == SubjectKind::device ? "PO-1" : "",
            .sender = "st-01",
            .profile = "device",
            .profile_digest = "d",
            .issuer_key_id = "i",
            .public_key = key,
            .key_algorithm = "p256",
            .key_id = "id-of-" + key,
            .not_before = kTestTime,
            .not_after = kTestTime + std::chrono::days(1),
            .tbs = {1, 2, 3},
            .certificate = {},
            .statement = "{}"};
  }
  void reserve(const CertificateRecord& wanted) {
    WriteTransaction transaction = ledger_.write();
    ledger_.certificates.reserve(wanted);
    transaction.commit();
  }
  // What is refused, whoever asks.
  void expect_refused(const std::string& statement, const char* why) {
    Error error = error_of([&] { raw(statement); });
    EXPECT_THAT(error.cause(), HasSubstr(why)) << statement;
  }
  void raw(const std::string& statement) {
    with_store_errors([&] { raw_.sql() << statement; });
  }
  WorkOrder order(const std::string& id, long long quantity) const {
    return {.id = OrderId::parse(id),
            .profile = ProfileName::parse("device"),
            .pattern = {},
            .quantity = quantity,
            .created_at = format_time(kTestTime),
            .closed_at = ""};
  }
  std::string state_of(const std::string& serial) {
    return std::string(name_of(ledger_.certificates.with_serial(serial).value().state));
  }
  void append(const char* event) {
    WriteTransaction transaction = ledger_.write();
    ledger_.log.append(event, kTestTime, {{"n", 1}});
    transaction.commit();
  }

  ScratchDirectory directory_;
  Ledger ledger_{directory_ / "ledger.db"};
  // Somebody with a database tool.
  Database raw_{directory_ / "ledger.db", std::vector<std::string_view>(Ledger::kSchemaVersion, "")};
  Certificate certificate_ = make_root().certificate;
};

TEST_F(LedgerTest, HoldsOneLiveCertificateASubject) {
  reserve(record("01", "dev-1", "k1"));
  EXPECT_ANY_THROW(reserve(record("02", "dev-1", "k2"))) << "two reservations";
  ASSERT_TRUE(ledger_.certificates.commit("01", certificate_.der(), kTestTime));
  EXPECT_NO_THROW(reserve(record("02", "dev-1", "k2"))) << "what will supersede it";
  EXPECT_ANY_THROW((void)ledger_.certificates.commit("02", certificate_.der(), kTestTime)) << "two live ones";
  expect_refused("UPDATE certificates SET state = 'issued', certificate = 'ff' WHERE serial = '02'",
                 "UNIQUE");
  ledger_.certificates.revoke("01", RevocationReason::superseded, kTestTime);
  EXPECT_TRUE(ledger_.certificates.commit("02", certificate_.der(), kTestTime));
  expect_refused("UPDATE certificates SET state = 'issued' WHERE serial = '01'", "UNIQUE");
}

TEST_F(LedgerTest, HoldsOneSubjectAKeyForEver) {
  reserve(record("01", "dev-1", "k1"));
  EXPECT_ANY_THROW(reserve(record("02", "dev-2", "k1")));
  ASSERT_TRUE(ledger_.certificates.commit("01", certificate_.der(), kTestTime));
  ledger_.certificates.revoke("01", RevocationReason::unspecified, kTestTime);
  EXPECT_ANY_THROW(reserve(record("02", "dev-2", "k1"))) << "not even after revocation";
  EXPECT_ANY_THROW(reserve(record("02", "st-01", "k1", SubjectKind::station))) << "nor as a station";
  reserve(record("03", "dev-3", "k3"));
  expect_refused("UPDATE certificates SET public_key = 'k1' WHERE serial = '03'", "UNIQUE");
}

TEST_F(LedgerTest, TakesNoReasonAndNoTimeThatThereIsNot) {
  reserve(record("01", "dev-1", "k1"));
  ASSERT_TRUE(ledger_.certificates.commit("01", certificate_.der(), kTestTime));
  ledger_.certificates.revoke("01", RevocationReason::superseded, kTestTime);
  std::string issuer = ledger_.certificates.with_serial("01").value().issuer_key_id;
  auto read_list = [&] { ledger_.certificates.each_revoked(issuer, [](const RevokedCertificate&) {}); };
  EXPECT_NO_THROW(read_list());

  raw_.sql() << "UPDATE certificates SET revoked_at = '2026-11-31T00:00:00Z'";
  Error no_time = error_of(read_list);
  EXPECT_EQ(no_time.code(), ErrorCode::io);
  EXPECT_EQ(no_time.message(), "the ledger holds \"2026-11-31T00:00:00Z\" as a time");

  raw_.sql() << "UPDATE certificates SET revocation_reason = 'zzz'";
  Error no_reason = error_of([&] { (void)ledger_.certificates.with_serial("01"); });
  EXPECT_EQ(no_reason.code(), ErrorCode::io) << "not usage: nobody has typed it";
  EXPECT_EQ(no_reason.message(), "the ledger holds the unknown word \"zzz\"");
  EXPECT_EQ(code_of(read_list), ErrorCode::io);
}

TEST_F(LedgerTest, UsesASerialNumberOnce) {
  reserve(record("01", "dev-1", "k1"));
  ledger_.certificates.abandon("01");
  EXPECT_ANY_THROW(reserve(record("01", "dev-2", "k2")));
}

TEST_F(LedgerTest, KeepsDevicesStationsAndCasApart) {
  reserve(record("01", "x", "k1"));
  reserve(record("02", "x", "k2", SubjectKind::station));
  reserve(record("03", "x", "k3", SubjectKind::authority));
  EXPECT_EQ(ledger_.certificates.live(SubjectKind::station, "x").value().serial, "02");
  ASSERT_TRUE(ledger_.certificates.commit("01", certificate_.der(), kTestTime));
  ASSERT_TRUE(ledger_.certificates.commit("02", certificate_.der(), kTestTime));
  EXPECT_EQ(ledger_.certificates.station_with_key_id("id-of-k2").value().serial, "02");
  EXPECT_FALSE(ledger_.certificates.station_with_key_id("id-of-k1")) << "it is a device";
}

TEST_F(LedgerTest, FreesTheSubjectOfAnAbandonedReservationAndRemembersItsKey) {
  reserve(record("01", "dev-1", "k1"));
  ledger_.certificates.abandon("01");
  EXPECT_EQ(state_of("01"), "abandoned");
  EXPECT_FALSE(ledger_.certificates.live(SubjectKind::device, "dev-1"));
  EXPECT_EQ(ledger_.certificates.with_public_key("k1").value().serial, "01");
  EXPECT_NO_THROW(reserve(record("02", "dev-1", "k1")));
  EXPECT_EQ(ledger_.certificates.with_public_key("k1").value().serial, "02") << "what there is now";
  ledger_.certificates.abandon("02");
  EXPECT_EQ(ledger_.certificates.with_public_key("k1").value().serial, "01") << "the first";
  EXPECT_NO_THROW(reserve(record("03", "dev-1", "k3")));
}

TEST_F(LedgerTest, GoesFromReservedToIssuedToRevokedAndNoOtherWay) {
  reserve(record("01", "dev-1", "k1"));
  EXPECT_EQ(state_of("01"), "reserved");
  ledger_.certificates.revoke("01", RevocationReason::unspecified, kTestTime);
  EXPECT_EQ(state_of("01"), "reserved") << "only what was issued is revoked";
  EXPECT_TRUE(ledger_.certificates.commit("01", certificate_.der(), kTestTime));
  EXPECT_EQ(state_of("01"), "issued");
  EXPECT_FALSE(ledger_.certificates.commit("01", certificate_.der(), kTestTime)) << "a second signature";
  ledger_.certificates.abandon("01");
  EXPECT_EQ(state_of("01"), "issued") << "what was handed out is never given up";
  ledger_.certificates.revoke("01", RevocationReason::unspecified, kTestTime);
  EXPECT_EQ(state_of("01"), "revoked");
  EXPECT_FALSE(ledger_.certificates.commit("01", certificate_.der(), kTestTime));
  ledger_.certificates.abandon("01");
  EXPECT_EQ(state_of("01"), "revoked");
  EXPECT_FALSE(ledger_.certificates.commit("99", certificate_.der(), kTestTime)) << "nothing was reserved";
}

TEST_F(LedgerTest, DoesNotCommitWhatWasAbandoned) {
  reserve(record("01", "dev-1", "k1"));
  ledger_.certificates.abandon("01");
  EXPECT_FALSE(ledger_.certificates.commit("01", certificate_.der(), kTestTime));
  EXPECT_EQ(state_of("01"), "abandoned");
}

TEST_F(LedgerTest, RemembersWhatItWasTold) {
  CertificateRecord wanted = record("01", "dev-1", "k1");
  reserve(wanted);
  CertificateRecord reserved = ledger_.certificates.live(SubjectKind::device, "dev-1").value();
  EXPECT_EQ(reserved.tbs, wanted.tbs);
  EXPECT_EQ(reserved.not_after, wanted.not_after);
  EXPECT_EQ(reserved.statement, "{}");
  ASSERT_TRUE(ledger_.certificates.commit("01", certificate_.der(), kTestTime));
  ledger_.certificates.confirm("01", Confirmation::accepted, kTestTime + std::chrono::seconds(5));
  CertificateRecord issued = ledger_.certificates.with_public_key("k1").value();
  EXPECT_EQ(issued.certificate, certificate_.der());
  EXPECT_THAT(issued.tbs, IsEmpty()) << "the certificate holds them";
  EXPECT_EQ(issued.issued_at, "2026-11-24T00:00:00Z");
  EXPECT_EQ(issued.confirmation, Confirmation::accepted);
  EXPECT_EQ(issued.confirmed_at, "2026-11-24T00:00:05Z");
}

TEST_F(LedgerTest, HoldsNoIssuedCertificateWithoutItsBytes) {
  reserve(record("01", "dev-1", "k1"));
  expect_refused("UPDATE certificates SET state = 'issued'", "CHECK");
  expect_refused("UPDATE certificates SET state = 'lost'", "CHECK");
}

TEST_F(LedgerTest, ListsWhatWasIssued) {
  for (const char* n : {"1", "2", "3", "4"})
    reserve(record(std::string("0") + n, std::string("dev-") + n, std::string("k") + n));
  for (const char* serial : {"01", "02", "03"})
    ASSERT_TRUE(ledger_.certificates.commit(serial, certificate_.der(), kTestTime));
  ledger_.certificates.revoke("02", RevocationReason::unspecified, kTestTime);
  auto list = [&](const std::string& order) {
    std::vector<std::string> serials;
    ledger_.certificates.each(SubjectKind::device, order,
                              [&](const CertificateRecord& each) { serials.push_back(each.serial); });
    return serials;
  };
  EXPECT_THAT(list(""), ElementsAre("01", "02", "03"));
  EXPECT_THAT(list("PO-1"), ElementsAre("01", "02", "03"));
  EXPECT_THAT(list("PO-2"), IsEmpty());
}

TEST_F(LedgerTest, KnowsTheLatestTimeOfAll) {
  EXPECT_FALSE(ledger_.certificates.latest_time());
  CertificateRecord late = record("01", "dev-1", "k1");
  late.not_before += std::chrono::hours(1);
  reserve(late);
  reserve(record("02", "dev-2", "k2"));
  ledger_.certificates.abandon("01");
  EXPECT_EQ(ledger_.certificates.latest_time(), late.not_before);
}

TEST_F(LedgerTest, NeverTakesMorePlacesThanAnOrderHas) {
  ledger_.orders.create(order("PO-1", 2), {});
  ledger_.orders.take_place(OrderId::parse("PO-1"));
  ledger_.orders.take_place(OrderId::parse("PO-1"));
  EXPECT_ANY_THROW(ledger_.orders.take_place(OrderId::parse("PO-1")));
  EXPECT_EQ(ledger_.orders.get(OrderId::parse("PO-1")).used, 2);
  expect_refused("UPDATE orders SET used = 3", "CHECK");
  expect_refused("UPDATE orders SET used = -1", "CHECK");
  expect_refused("UPDATE orders SET quantity = 1", "CHECK");
  expect_refused("UPDATE orders SET state = 'paused'", "CHECK");
  EXPECT_ANY_THROW(ledger_.orders.create(order("PO-2", 0), {}));
}

TEST_F(LedgerTest, AnOrderIsMadeOnceAndAdmitsItsDevices) {
  ledger_.orders.create(order("PO-1", 1), {device_record("dev-1", {{"hw_serial", "S1"}})});
  EXPECT_EQ(code_of([&] { ledger_.orders.create(order("PO-1", 1), {}); }), ErrorCode::cannot_create);
  EXPECT_EQ(code_of([&] { (void)ledger_.orders.get(OrderId::parse("PO-2")); }), ErrorCode::order_unknown);
  WorkOrder listed = ledger_.orders.get(OrderId::parse("PO-1"));
  EXPECT_EQ(ledger_.orders.device(listed, DeviceId::parse("dev-1")).value().columns.at("hw_serial"), "S1");
  EXPECT_FALSE(ledger_.orders.device(listed, DeviceId::parse("dev-2")));
  WorkOrder pattern = order("PO-3", 5);
  pattern.pattern = DevicePattern::parse("dev-[0-9]");
  ledger_.orders.create(pattern, {});
  EXPECT_TRUE(ledger_.orders.device(ledger_.orders.get(pattern.id), DeviceId::parse("dev-2")));
  EXPECT_FALSE(ledger_.orders.device(ledger_.orders.get(pattern.id), DeviceId::parse("dev-22")));
  ledger_.orders.close(pattern.id, kTestTime);
  ledger_.orders.close(pattern.id, kTestTime + std::chrono::hours(1));
  EXPECT_FALSE(ledger_.orders.get(pattern.id).is_open);
  EXPECT_EQ(ledger_.orders.get(pattern.id).closed_at, "2026-11-24T00:00:00Z") << "closed once";
  expect_refused("DELETE FROM orders WHERE id = 'PO-1'", "FOREIGN KEY");
}

TEST_F(LedgerTest, WhatIsNotCommittedIsNotThere) {
  {
    WriteTransaction transaction = ledger_.write();
    ledger_.certificates.reserve(record("01", "dev-1", "k1"));
    ledger_.log.append("device.certified", kTestTime, {});
  }
  EXPECT_FALSE(ledger_.certificates.with_serial("01"));
  EXPECT_EQ(ledger_.log.checkpoint().sequence, 0);
}

TEST_F(LedgerTest, ADeviceCountsOnceInItsOrderAndByItsLastCertificate) {
  auto issue = [&](CertificateRecord wanted, int generation) {
    wanted.generation = generation;
    reserve(wanted);
    WriteTransaction transaction = ledger_.write();
    ledger_.certificates.commit(wanted.serial, Bytes{1}, kTestTime);
    transaction.commit();
  };
  // Both in one second, the last with the lower number.
  issue(record("02", "dev-1", "k1"), 1);
  {
    WriteTransaction transaction = ledger_.write();
    ledger_.certificates.confirm("02", Confirmation::accepted, kTestTime);
    transaction.commit();
  }
  EXPECT_EQ(ledger_.certificates.progress_of(OrderId::parse("PO-1")).confirmed, 1);
  {
    WriteTransaction transaction = ledger_.write();
    ledger_.certificates.revoke("02", RevocationReason::superseded, kTestTime);
    transaction.commit();
  }
  issue(record("01", "dev-1", "k2"), 2);
  reserve(record("03", "dev-2", "k3"));
  OrderProgress progress = ledger_.certificates.progress_of(OrderId::parse("PO-1"));
  EXPECT_EQ(progress.issued, 1);
  EXPECT_EQ(progress.confirmed, 0);
}

}  // namespace
}  // namespace fleetroot::ca
