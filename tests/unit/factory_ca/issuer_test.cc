// One request after the other: what is issued, what is issued again, what is refused.
#include "factory-ca/issuer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/factory_ca/factory.h"

namespace fleetroot::ca {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class IssuerTest : public Factory {
 protected:
  IssuerTest() { open_order("PO-1", 3); }

  Certificate issue(const CertificateRequest& request, const std::string& order = "PO-1") {
    return process.issue(request, order);
  }
  // A refusal that changes nothing but the alarms in the log.
  Error refusal_of(const CertificateRequest& request, const std::string& order = "PO-1") {
    long long used_before = used();
    std::size_t certified = events("device.certified").size();
    Error error = error_of([&] { (void)issue(request, order); });
    EXPECT_EQ(used(), used_before);
    EXPECT_EQ(events("device.certified").size(), certified);
    EXPECT_FALSE(error.message().empty());
    EXPECT_FALSE(error.hint().empty());
    return error;
  }

  EvpPkeyPtr key_ = software_key();
  CertificateRequest request_ = request_for("dev-1", key_);
};

TEST_F(IssuerTest, IssuesWhatTheProfileSaysForTheRequestsKey) {
  Certificate certificate = issue(request_);
  EXPECT_EQ(certificate.common_name(), "dev-1");
  EXPECT_EQ(certificate.public_key(), request_.public_key());
  EXPECT_EQ(certificate.not_before(), clock.time);
  EXPECT_EQ(format_time(certificate.not_after()), "2036-11-24T00:00:00Z");
  CertificateRecord record = live("dev-1").value();
  EXPECT_EQ(record.state, CertificateState::issued);
  EXPECT_EQ(record.certificate, certificate.der());
  EXPECT_EQ(record.serial, certificate.serial().hex());
  EXPECT_EQ(record.sender, "operator");
  EXPECT_EQ(used(), 1);
  ASSERT_THAT(events("device.certified"), SizeIs(1));
  EXPECT_EQ(events("device.certified")[0]["certificate"], certificate.fingerprint());
}

TEST_F(IssuerTest, GivesTheSameDeviceWithTheSameKeyTheSameBytesAgain) {
  Certificate first = issue(request_);
  clock.time += std::chrono::hours(24);
  EXPECT_EQ(issue(request_).der(), first.der());
  EXPECT_EQ(issue(request_for("dev-1", key_)).der(), first.der()) << "a new request for the same key";
  EXPECT_EQ(another_process()->issue(request_).der(), first.der());
  EXPECT_EQ(used(), 1);
  EXPECT_THAT(events("device.certified"), SizeIs(1));
}

TEST_F(IssuerTest, GivesTheSameBytesAgainWhenTheOrderIsClosedOrFullOrAnother) {
  Certificate first = issue(request_);
  issue(request_for("dev-2", software_key()));
  issue(request_for("dev-3", software_key()));
  EXPECT_EQ(issue(request_).der(), first.der()) << "full";
  close_order("PO-1");
  EXPECT_EQ(issue(request_).der(), first.der()) << "closed";
  open_order("PO-2", 1);
  EXPECT_EQ(issue(request_, "PO-2").der(), first.der()) << "another order";
  EXPECT_EQ(used("PO-2"), 0);
}

TEST_F(IssuerTest, GivesTheSameBytesAgainWhateverBecameOfProfileAndClock) {
  Certificate first = issue(request_);
  std::filesystem::remove(directory.path() / "profiles" / "device.toml");
  clock.time -= std::chrono::hours(24);
  EXPECT_EQ(issue(request_).der(), first.der());
}

TEST_F(IssuerTest, RefusesAnotherKeyForADeviceThatHasACertificate) {
  Certificate first = issue(request_);
  Error error = refusal_of(request_for("dev-1", software_key()));
  EXPECT_EQ(error.code(), ErrorCode::device_has_certificate);
  EXPECT_THAT(error.message(), AllOf(HasSubstr("dev-1"), HasSubstr("PO-1")));
  EXPECT_EQ(issue(request_).der(), first.der());
}

TEST_F(IssuerTest, RefusesTheKeyOfAnotherDeviceAndRaisesAnAlarm) {
  issue(request_);
  Error error = refusal_of(request_for("dev-2", key_));
  EXPECT_EQ(error.code(), ErrorCode::key_reused);
  EXPECT_THAT(error.message(), AllOf(HasSubstr("dev-1"), HasSubstr("dev-2")));
  ASSERT_THAT(events("alarm.key_reused"), SizeIs(1));
  EXPECT_EQ(events("alarm.key_reused")[0]["device_id"], "dev-2");
  EXPECT_EQ(events("alarm.key_reused")[0]["public_key"], request_.public_key().fingerprint());
  EXPECT_FALSE(live("dev-2"));
}

TEST_F(IssuerTest, RefusesTheKeyOfADeviceEvenAfterItsRevocation) {
  revoke(issue(request_));
  EXPECT_EQ(refusal_of(request_for("dev-2", key_)).code(), ErrorCode::key_reused);
  EXPECT_EQ(refusal_of(request_).code(), ErrorCode::device_revoked);
  EXPECT_EQ(refusal_of(request_for("dev-1", software_key())).code(), ErrorCode::device_revoked);
}

TEST_F(IssuerTest, RefusesTheKeyOfAStation) {
  certify(ledger(), issuing.signer, SubjectKind::station, "st-01",
          station_plan("st-01", request_.public_key(), clock.time, clock.time + std::chrono::days(30)),
          clock);
  EXPECT_EQ(refusal_of(request_).code(), ErrorCode::key_reused);
  EXPECT_THAT(events("alarm.key_reused"), SizeIs(1));
}

TEST_F(IssuerTest, CertifiesExactlyAsManyDevicesAsTheOrderHas) {
  for (const char* device : {"dev-1", "dev-2", "dev-3"}) issue(request_for(device, software_key()));
  EXPECT_EQ(refusal_of(request_for("dev-4", software_key())).code(), ErrorCode::order_full);
  EXPECT_EQ(used(), 3);
}

TEST_F(IssuerTest, KeepsAPlaceThatARevokedCertificateUsed) {
  for (const char* device : {"dev-1", "dev-2", "dev-3"}) revoke(issue(request_for(device, software_key())));
  EXPECT_EQ(refusal_of(request_for("dev-4", software_key())).code(), ErrorCode::order_full);
}

TEST_F(IssuerTest, RefusesWhatNoOrderAllows) {
  EXPECT_EQ(refusal_of(request_for("other-1", key_)).code(), ErrorCode::not_on_order);
  EXPECT_EQ(refusal_of(request_, "PO-9").code(), ErrorCode::order_unknown);
  close_order("PO-1");
  EXPECT_EQ(refusal_of(request_).code(), ErrorCode::order_closed);
}

TEST_F(IssuerTest, RefusesARequestThatNamesNoOrder) {
  Error error =
      error_of([&] { (void)process.issue({.sender = "operator", .request = request_, .order = {}}); });
  EXPECT_EQ(error.code(), ErrorCode::bad_request);
}

TEST_F(IssuerTest, RefusesAKeyAlgorithmThatTheProfileDoesNotList) {
  write_profile("p384",
                "name = \"p384\"\nkey_algorithms = [\"p384\"]\nvalidity = \"1 year\"\nkey_usage = "
                "[\"digitalSignature\"]\n");
  open_order("PO-2", 3, "dev-[0-9]+", "p384");
  Error error = refusal_of(request_, "PO-2");
  EXPECT_EQ(error.code(), ErrorCode::algorithm_not_allowed);
  EXPECT_THAT(error.message(), HasSubstr("does not allow p256"));
  EXPECT_NO_THROW(issue(request_for("dev-1", software_key(KeyAlgorithm::p384)), "PO-2"));
}

TEST_F(IssuerTest, RefusesARequestThatItsKeyDidNotSign) {
  Bytes der = request_.der();
  der.back() ^= 1;
  EXPECT_EQ(refusal_of(CertificateRequest::from_der(der)).code(), ErrorCode::bad_request);
}

TEST_F(IssuerTest, RefusesAClockThatWentBack) {
  issue(request_);
  clock.time -= std::chrono::seconds(1);
  Error error = refusal_of(request_for("dev-2", software_key()));
  EXPECT_EQ(error.code(), ErrorCode::clock);
  EXPECT_THAT(error.message(), AllOf(HasSubstr("2026-11-23T23:59:59Z"), HasSubstr("2026-11-24T00:00:00Z")));
  clock.time += std::chrono::seconds(1);
  EXPECT_NO_THROW(issue(request_for("dev-2", software_key())));
}

TEST_F(IssuerTest, RefusesADeviceThatWouldOutliveTheIssuer) {
  clock.time = kTestTime - std::chrono::hours(1);
  EXPECT_EQ(refusal_of(request_).code(), ErrorCode::configuration) << "valid before its issuer";
}

std::string statement(const char* order, const char* station) {
  return ProvisioningStatement{.order = OrderId::parse(order),
                               .station = StationName::parse(station),
                               .bay = "1",
                               .token_manufacturer = "SoftHSM project",
                               .token_model = "SoftHSM v2",
                               .token_serial = "0001",
                               .token_firmware = "2.6",
                               .mechanism = "CKM_EC_KEY_PAIR_GEN",
                               .time = "2026-11-24T00:00:00Z"}
      .to_json();
}

TEST_F(IssuerTest, TakesTheOrderFromTheStatementAndKeepsIt) {
  CertificateRequest request = request_for("dev-1", key_, statement("PO-1", "st-01"));
  (void)process.issue({.sender = "st-01", .request = request, .order = {}});
  EXPECT_EQ(live("dev-1").value().statement, statement("PO-1", "st-01"));
  EXPECT_EQ(live("dev-1").value().sender, "st-01");
}

TEST_F(IssuerTest, WhoFinishesAReservationIsItsSender) {
  crash_before_commit(request_for("dev-1", key_));
  CertificateRequest request = request_for("dev-1", key_, statement("PO-1", "st-02"));
  (void)process.issue(request, "PO-1", "st-02");
  EXPECT_EQ(live("dev-1").value().sender, "st-02");
  EXPECT_EQ(live("dev-1").value().statement, statement("PO-1", "st-02"));
  EXPECT_EQ(events("device.certified")[0]["sender"], "st-02");
}

TEST_F(IssuerTest, RefusesAStationThatIsBoundToOtherOrders) {
  open_order("PO-2", 3);
  auto bind = [&](const std::vector<OrderId>& orders) {
    WriteTransaction transaction = ledger().write();
    ledger().station_orders.bind("st-01", orders);
    transaction.commit();
  };
  auto issue_at = [&](const char* station) { (void)process.issue(request_, "PO-1", station); };
  bind({OrderId::parse("PO-2")});
  EXPECT_EQ(code_of([&] { issue_at("st-01"); }), ErrorCode::not_authorised);
  EXPECT_EQ(used(), 0);
  bind({OrderId::parse("PO-1"), OrderId::parse("PO-2")});
  EXPECT_NO_THROW(issue_at("st-01"));
  bind({OrderId::parse("PO-2")});
  EXPECT_EQ(code_of([&] { issue_at("st-01"); }), ErrorCode::not_authorised) << "nor what there is already";
  EXPECT_NO_THROW(issue_at("st-02"));
  bind({});
  EXPECT_NO_THROW(issue_at("st-01"));
}

TEST_F(IssuerTest, RefusesAStatementForAnotherOrder) {
  CertificateRequest request = request_for("dev-1", key_, statement("PO-2", "operator"));
  Error error = refusal_of(request, "PO-1");
  EXPECT_EQ(error.code(), ErrorCode::bad_request);
  EXPECT_THAT(error.message(), AllOf(HasSubstr("PO-1"), HasSubstr("PO-2")));
}

TEST_F(IssuerTest, RefusesAStatementOfAnotherStation) {
  CertificateRequest request = request_for("dev-1", key_, statement("PO-1", "st-01"));
  Error error = error_of([&] { (void)process.issue(request, "PO-1", "st-02"); });
  EXPECT_EQ(error.code(), ErrorCode::bad_request);
  EXPECT_THAT(error.message(), AllOf(HasSubstr("st-01"), HasSubstr("st-02")));
}

TEST_F(IssuerTest, OfOneOrderIssuesForNoOther) {
  open_order("PO-2", 1);
  Issuer issuer(ledger(), issuing.signer, issuing.certificate, directory / "profiles", kStationValidity,
                clock, OrderId::parse("PO-2"));
  CertificateRequest other = request_for("dev-1", key_, statement("PO-1", "operator"));
  Submission wrong{.sender = "operator", .request = other, .order = {}};
  EXPECT_EQ(code_of([&] { (void)run_alone(issuer.issue(wrong)); }), ErrorCode::bad_request);
  Submission right{.sender = "operator", .request = request_, .order = {}};
  (void)run_alone(issuer.issue(right));
  EXPECT_EQ(live("dev-1").value().order, "PO-2");
}

// A request that asks for everything: another name beside the ID, other usages, alternative names.
TEST_F(IssuerTest, TakesNothingFromTheRequestButKeyAndId) {
  X509ReqPtr greedy(X509_REQ_new());
  X509_NAME* subject = X509_REQ_get_subject_name(greedy.get());
  set_common_name(subject, "dev-1");
  X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC, as_bytes("Evil Corp").data(), 9, -1, 0);
  X509_NAME_add_entry_by_txt(subject, "serialNumber", MBSTRING_ASC, as_bytes("Evil-1").data(), 6, -1, 0);
  X509_REQ_set_pubkey(greedy.get(), key_.get());
  STACK_OF(X509_EXTENSION)* wanted = sk_X509_EXTENSION_new_null();
  for (const auto& text : ExtensionTexts{{"keyUsage", "critical,digitalSignature,keyEncipherment"},
                                         {"extendedKeyUsage", "serverAuth,codeSigning"},
                                         {"subjectAltName", "DNS:evil.example.test"},
                                         {"tlsfeature", "status_request"}}) {
    sk_X509_EXTENSION_push(wanted, make_extension(text).release());
  }
  X509_REQ_add_extensions(greedy.get(), wanted);
  sk_X509_EXTENSION_pop_free(wanted, X509_EXTENSION_free);
  ASSERT_GT(X509_REQ_sign(greedy.get(), key_.get(), EVP_sha256()), 0);
  Certificate got = issue(CertificateRequest::from_der(to_der(i2d_X509_REQ, greedy.get())));
  EXPECT_EQ(got.subject(), "CN=dev-1");
  EXPECT_EQ(X509_get_ext_count(got.x509()), 5);
  EXPECT_EQ(X509_get_key_usage(got.x509()), static_cast<std::uint32_t>(KU_DIGITAL_SIGNATURE));
  EXPECT_EQ(X509_get_extended_key_usage(got.x509()), static_cast<std::uint32_t>(XKU_SSL_CLIENT));
  EXPECT_THAT(as_text(got.der()), testing::Not(HasSubstr("vil")));
}

}  // namespace
}  // namespace fleetroot::ca
