// The promises of a CMP transaction, both sides of it against each other.
#include <openssl/cmp.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "tests/unit/cmp_fixture.h"

namespace fleetroot::cmp {
namespace {

TEST_F(CmpTest, EnrollsAndTellsTheCaThatTheCertificateIsInPlace) {
  bool was_issued_when_asked = false;
  Enrolled enrolled = enroll(station, [&](const Enrolled& answer) {
    was_issued_when_asked = authority.issued.size() == 1 && authority.outcomes.empty();
    EXPECT_EQ(answer.certificate.common_name(), "1FLEET0000000001");
  });
  EXPECT_TRUE(was_issued_when_asked);
  EXPECT_EQ(enrolled.certificate, authority.issued.at(0));
  EXPECT_EQ(enrolled.chain, std::vector<Certificate>{ca.certificate});
  ASSERT_EQ(authority.outcomes.size(), 1U);
  EXPECT_TRUE(authority.outcomes[0].accepted);
  EXPECT_EQ(authority.outcomes[0].certificate, enrolled.certificate);
  EXPECT_EQ(authority.outcomes[0].station, "st-01");
  EXPECT_EQ(authority.labels.at(0), "PO-1");
  EXPECT_LE(SystemClock().now() - authority.times.at(0).value(), std::chrono::minutes(1));
  EXPECT_EQ(sent.size(), 2U);
}

class CmpAlgorithms : public testing::TestWithParam<KeyAlgorithm> {};

TEST_P(CmpAlgorithms, SignStationAndCa) {
  Party ca = make_ca("Factory CA", GetParam());
  Party station = make_station("st-01", ca, GetParam());
  FakeAuthority authority(ca);
  authority.enroll(station);
  Responder responder({.certificate = ca.certificate, .key = ca.key.get()}, authority);
  Client client({.certificate = station.certificate, .chain = {}, .key = station.key.get()}, ca.certificate,
                [&](BytesView message) { return responder.respond(message); });
  EvpPkeyPtr device_key = software_key(GetParam());
  client.enroll(make_request("1FLEET0000000001", device_key.get()), [](const Enrolled&) {});
  ASSERT_EQ(authority.outcomes.size(), 1U);
  EXPECT_TRUE(authority.outcomes[0].accepted);
}

INSTANTIATE_TEST_SUITE_P(All, CmpAlgorithms,
                         testing::Values(KeyAlgorithm::p256, KeyAlgorithm::p384, KeyAlgorithm::rsa2048,
                                         KeyAlgorithm::rsa3072),
                         [](const auto& test) { return std::string(name_of(test.param)); });

TEST_F(CmpTest, CertifiesEd25519KeysAndSaysThatTheyCannotSignMessages) {
  EvpPkeyPtr ed25519 = software_key(KeyAlgorithm::ed25519);
  request = make_request("1FLEET0000000001", ed25519.get());
  EXPECT_EQ(enroll(station).certificate.public_key().algorithm(), KeyAlgorithm::ed25519);
  Party signer = make_ca("Ed CA", KeyAlgorithm::ed25519);
  EXPECT_EQ(refusal_of([&] { make_client(signer, directly()); }).code(), ErrorCode::configuration);
  auto make_responder = [&] { Responder({signer.certificate, signer.key.get()}, authority); };
  EXPECT_EQ(refusal_of(make_responder).code(), ErrorCode::configuration);
}

// Every code that ErrorCode has: error_code_from_name(name_of(c)) gives c, and base_test keeps that so. What
// is wrong at the CA itself is said to be wrong there.
TEST_F(CmpTest, CarriesARefusalWordForWordWhateverItsCode) {
  for (int number = 0; number <= static_cast<int>(ErrorCode::clock); ++number) {
    auto code = static_cast<ErrorCode>(number);
    Error refusal(code, "the order. \"PO-1\" [x] is \\ full.", "ask. then try [again]", "kept at home");
    authority.issuing = [&](auto&, auto&) { throw Error(refusal); };
    Error heard = refusal_of([&] { enroll(station); });
    EXPECT_EQ(heard.code(), code) << name_of(code);
    constexpr std::array kAboutTheCa{ErrorCode::cannot_create, ErrorCode::io, ErrorCode::configuration,
                                     ErrorCode::module_unusable, ErrorCode::clock};
    bool is_about_the_ca = std::find(kAboutTheCa.begin(), kAboutTheCa.end(), code) != kAboutTheCa.end();
    EXPECT_EQ(heard.message(), (is_about_the_ca ? "the CA cannot issue: " : "") + refusal.message());
    EXPECT_EQ(heard.hint(), (is_about_the_ca ? "on the CA's machine: " : "") + refusal.hint());
    EXPECT_EQ(heard.cause().find("kept at home"), std::string::npos);
  }
  EXPECT_TRUE(authority.issued.empty());
  EXPECT_TRUE(authority.outcomes.empty());
}

TEST_F(CmpTest, ConfirmsToACaThatWasStartedAgainAfterItsAnswer) {
  std::optional<Responder> other;
  int messages = 0;
  Client client = make_client(station, [&](BytesView message) {
    if (++messages == 2) other.emplace(Responder::Signer{ca.certificate, ca.key.get()}, authority);
    return (other ? *other : responder).respond(message);
  });
  authority.remembers = true;
  Enrolled enrolled = client.enroll(request, [](const Enrolled&) {});
  EXPECT_EQ(messages, 4);
  ASSERT_EQ(authority.outcomes.size(), 1U);
  EXPECT_TRUE(authority.outcomes[0].accepted);
  EXPECT_EQ(authority.outcomes[0].certificate, enrolled.certificate);
}

TEST_F(CmpTest, CallsAnUnknownExceptionOfTheAuthorityItsOwnBug) {
  authority.issuing = [](auto&, auto&) { throw std::runtime_error("SELECT secret FROM ledger"); };
  Error heard = refusal_of([&] { enroll(station); });
  EXPECT_EQ(heard.code(), ErrorCode::internal);
  EXPECT_EQ(std::string(heard.what()).find("SELECT"), std::string::npos);
  ASSERT_EQ(authority.failures.size(), 1U);
  EXPECT_EQ(authority.failures[0].cause(), "SELECT secret FROM ledger") << "which stays at home";
}

TEST_F(CmpTest, TellsTheCaWhenTheStationRejectsTheCertificate) {
  Error heard = refusal_of([&] {
    enroll(station, [](const Enrolled&) {
      throw Error(ErrorCode::certificate_rejected, "its CN is another", "hold the device");
    });
  });
  EXPECT_EQ(heard.code(), ErrorCode::certificate_rejected);
  EXPECT_EQ(heard.message(), "its CN is another");
  ASSERT_EQ(authority.outcomes.size(), 1U);
  EXPECT_FALSE(authority.outcomes[0].accepted);
}

TEST_F(CmpTest, WhatAnotherTryMayWriteIsNotRejected) {
  Error heard = refusal_of([&] {
    enroll(station, [](const Enrolled&) {
      throw Error(ErrorCode::token_unplugged, "the token is gone", "plug it in again");
    });
  });
  EXPECT_EQ(heard.code(), ErrorCode::token_unplugged);
  EXPECT_TRUE(authority.outcomes.empty());
  enroll(station);
  ASSERT_EQ(authority.outcomes.size(), 1U);
  EXPECT_TRUE(authority.outcomes[0].accepted);
}

TEST_F(CmpTest, PassesForeignExceptionsThrough) {
  EXPECT_THROW(enroll(station, [](const Enrolled&) { throw std::out_of_range("accept"); }),
               std::out_of_range);
  EXPECT_TRUE(authority.outcomes.empty());
  Client unplugged = make_client(station, [](BytesView) -> Bytes { throw std::length_error("transfer"); });
  EXPECT_THROW(unplugged.enroll(request, [](const Enrolled&) {}), std::length_error);
}

TEST_F(CmpTest, RejectsACertificateForAnotherKeyBeforeAnybodyIsAsked) {
  EvpPkeyPtr other_key = software_key();
  authority.certified_key = other_key.get();
  Error heard = refusal_of([&] { enroll(station, [](const Enrolled&) { FAIL() << "was asked"; }); });
  EXPECT_EQ(heard.code(), ErrorCode::certificate_rejected);
  ASSERT_EQ(authority.outcomes.size(), 1U);
  EXPECT_FALSE(authority.outcomes[0].accepted);
}

TEST_F(CmpTest, DoesNotBelieveAnotherCaOfTheSameName) {
  Party impostor = make_ca("Factory CA");
  Responder false_responder({.certificate = impostor.certificate, .key = impostor.key.get()}, authority);
  Client client = make_client(station, [&](BytesView message) { return false_responder.respond(message); });
  Error heard = refusal_of([&] { client.enroll(request, [](const Enrolled&) { FAIL() << "was asked"; }); });
  EXPECT_EQ(heard.code(), ErrorCode::protocol);
}

TEST_F(CmpTest, DoesNotBelieveARefusalOfAnotherCa) {
  Party impostor = make_ca("Factory CA");
  Responder false_responder({.certificate = impostor.certificate, .key = impostor.key.get()}, authority);
  authority.issuing = [](auto&, auto&) { throw Error(ErrorCode::order_closed, "closed", "give up"); };
  Client client = make_client(station, [&](BytesView message) { return false_responder.respond(message); });
  EXPECT_EQ(refusal_of([&] { client.enroll(request, [](const Enrolled&) {}); }).code(), ErrorCode::protocol);
}

TEST_F(CmpTest, RefusesAnUnknownStation) {
  Error heard = refusal_of([&] { enroll(other_station); });
  EXPECT_EQ(heard.code(), ErrorCode::not_authorised);
  EXPECT_EQ(heard.message(), "no station is enrolled with this key");
  EXPECT_EQ(heard.hint(), "enroll the station");
  EXPECT_TRUE(authority.issued.empty());
}

TEST_F(CmpTest, RefusesAStationThatBorrowsAnothersName) {
  Party thief = make_namesake(station);
  ASSERT_EQ(thief.certificate.subject_key_identifier(), station.certificate.subject_key_identifier());
  Error heard = refusal_of([&] { enroll(thief); });
  EXPECT_EQ(heard.code(), ErrorCode::not_authorised);
  EXPECT_TRUE(authority.issued.empty());
}

TEST_F(CmpTest, SaysWhenTheStationsOwnKeyDoesNotSign) {
  Party mixed{software_key(), station.certificate};
  Error heard = refusal_of([&] { enroll(mixed); });
  EXPECT_EQ(heard.code(), ErrorCode::configuration);
  EXPECT_TRUE(sent.empty());
}

TEST_F(CmpTest, DoesNotBelieveACaWhoseKeyIsNotItsCertificates) {
  EvpPkeyPtr other_key = software_key();
  Responder broken({.certificate = ca.certificate, .key = other_key.get()}, authority);
  Client client = make_client(station, [&](BytesView message) { return broken.respond(message); });
  EXPECT_EQ(refusal_of([&] { client.enroll(request, [](const Enrolled&) {}); }).code(), ErrorCode::protocol);
}

TEST_F(CmpTest, TreatsALostConfirmationAsUnreachableAndTheNextRunAsRight) {
  int messages = 0;
  Client client = make_client(station, [&](BytesView message) {
    if (++messages == 2) {
      throw Error(ErrorCode::ca_unreachable, "the cable is out", "plug it in");
    }
    return responder.respond(message);
  });
  Error heard = refusal_of([&] { client.enroll(request, [](const Enrolled&) {}); });
  EXPECT_EQ(heard.message(), "the cable is out");
  EXPECT_TRUE(authority.outcomes.empty());
  enroll(station);
  EXPECT_EQ(authority.outcomes.size(), 1U);
}

TEST_F(CmpTest, IsUnreachableWhenTheCaDoesNotNoteTheConfirmation) {
  authority.confirming = [] { throw Error(ErrorCode::order_unknown, "the ledger is gone", "restore it"); };
  bool has_accepted = false;
  Error heard = refusal_of([&] { enroll(station, [&](const Enrolled&) { has_accepted = true; }); });
  EXPECT_TRUE(has_accepted);
  // Not the authority's code: a refusal now would have the station take back what is in place.
  EXPECT_EQ(heard.code(), ErrorCode::ca_unreachable);
}

// The proof is the authority's to check; that it is refused, and why, reaches the station.
TEST_F(CmpTest, RefusesARequestWhoseProofOfPossessionFails) {
  EvpPkeyPtr other_key = software_key();
  X509ReqPtr forged(X509_REQ_dup(request.x509_req()));
  X509_REQ_set_pubkey(forged.get(), other_key.get());
  request = CertificateRequest::from_der(to_der(i2d_X509_REQ, forged.get()));
  authority.issuing = [](const Sender&, const CertificateRequest& asked) { asked.refuse_unless_sound(); };
  EXPECT_EQ(refusal_of([&] { enroll(station); }).code(), ErrorCode::bad_request);
  EXPECT_TRUE(authority.issued.empty());
}

}  // namespace
}  // namespace fleetroot::cmp
