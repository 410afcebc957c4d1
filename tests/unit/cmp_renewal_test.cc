// kur: a station's next certificate, between our two sides and against OpenSSL's.
#include <gmock/gmock.h>

#include "tests/unit/stock_cmp.h"

namespace fleetroot::cmp {
namespace {

class CmpRenewal : public CmpTest {
 protected:
  KeyUpdateRequest own_request() {
    return {.request_id = 0,
            .subject = subject_of(station.certificate),
            .public_key = station.certificate.public_key(),
            .replaces = own_name()};
  }
  CertificateName own_name() {
    return {.issuer = issuer_of(station.certificate), .serial = station.certificate.serial()};
  }
  // The answer to a kur with this body, signed by the station.
  Message answer_to(BytesView body) {
    Header header;
    header.recipient = general_name_of(ca.certificate);
    header.transaction_id = random_bytes(kRandomSize);
    header.sender_nonce = random_bytes(kRandomSize);
    MessageSigner signer(station.certificate, station.key.get());
    answer_ = responder.respond(signer.encode(std::move(header), BodyType::kur, body));
    return parse_message(answer_);
  }
  std::string refusal_in_answer_to(BytesView body) {
    Message answer = answer_to(body);
    EXPECT_EQ(answer.type, BodyType::kup);
    StatusInfo status = parse_certificate_response(answer.body).status;
    EXPECT_FALSE(status.is_acceptance());
    EXPECT_TRUE(authority.renewed.empty());
    return status.texts.empty() ? "" : status.texts.front();
  }

  Bytes answer_;
};

TEST_F(CmpRenewal, OurClientRenewsAndConfirms) {
  Enrolled next = make_client(station, directly()).renew([&](const Enrolled& enrolled) {
    EXPECT_TRUE(authority.outcomes.empty()) << "it is confirmed when it is in its place";
    EXPECT_EQ(enrolled.certificate.public_key(), station.certificate.public_key());
  });
  ASSERT_EQ(authority.renewed.size(), 1U);
  EXPECT_EQ(authority.renewed[0].first, "st-01");
  EXPECT_EQ(authority.renewed[0].second->serial, station.certificate.serial());
  EXPECT_EQ(authority.renewed[0].second->issuer, issuer_of(station.certificate));
  ASSERT_EQ(authority.outcomes.size(), 1U);
  EXPECT_TRUE(authority.outcomes[0].accepted);
  EXPECT_EQ(authority.outcomes[0].certificate, next.certificate);
}

TEST_F(CmpRenewal, OurClientRenewsAtOpenSslsServer) {
  StockServer server(ca, station, EVP_sha256());
  Client client = make_client(station, [&](BytesView message) { return server.respond(message); });
  Enrolled next = client.renew([](const Enrolled&) {});
  EXPECT_EQ(next.certificate, *server.issued);
  EXPECT_EQ(server.replaced, station.certificate.serial());
  EXPECT_EQ(server.confirmed_hash, sha256(next.certificate.der()));
}

TEST_F(CmpRenewal, OpenSslsClientRenewsAndConfirms) {
  CmpCtxPtr context(OSSL_CMP_CTX_new(nullptr, nullptr));
  OSSL_CMP_CTX_set_log_verbosity(context.get(), OSSL_CMP_LOG_EMERG);
  OSSL_CMP_CTX_set1_srvCert(context.get(), ca.certificate.x509());
  OSSL_CMP_CTX_set1_cert(context.get(), station.certificate.x509());
  OSSL_CMP_CTX_set1_pkey(context.get(), station.key.get());
  OSSL_CMP_CTX_set1_oldCert(context.get(), station.certificate.x509());
  EVP_PKEY_up_ref(station.key.get());
  OSSL_CMP_CTX_set0_newPkey(context.get(), 1, station.key.get());
  OSSL_CMP_CTX_set_transfer_cb_arg(context.get(), &responder);
  OSSL_CMP_CTX_set_transfer_cb(context.get(), [](OSSL_CMP_CTX* ctx, const OSSL_CMP_MSG* message) {
    auto* by = static_cast<Responder*>(OSSL_CMP_CTX_get_transfer_cb_arg(ctx));
    return parse_openssl_message(by->respond(to_der(i2d_OSSL_CMP_MSG, message))).release();
  });
  const X509* next = OSSL_CMP_exec_KUR_ses(context.get());
  ASSERT_NE(next, nullptr) << take_openssl_errors();
  ASSERT_EQ(authority.renewed.size(), 1U);
  EXPECT_EQ(authority.renewed[0].first, "st-01");
  EXPECT_EQ(authority.renewed[0].second->serial, station.certificate.serial());
  ASSERT_EQ(authority.outcomes.size(), 1U);
  EXPECT_TRUE(authority.outcomes[0].accepted);
  EXPECT_EQ(to_der(i2d_X509, next), authority.issued[0].der());
}

TEST_F(CmpRenewal, TheNumberOfTheRequestComesBackAndIsConfirmed) {
  KeyUpdateRequest update = own_request();
  update.request_id = 7;
  EXPECT_EQ(parse_certificate_response(answer_to(encode(update, station.key.get())).body).request_id, 7);
}

TEST_F(CmpRenewal, WithoutANameAndAnOldCertificateItIsTheSenders) {
  KeyUpdateRequest update = own_request();
  update.subject.clear();
  update.replaces.reset();
  EXPECT_EQ(answer_to(encode(update, station.key.get())).type, BodyType::kup);
  ASSERT_EQ(authority.renewed.size(), 1U);
  EXPECT_FALSE(authority.renewed[0].second);
}

TEST_F(CmpRenewal, NobodyRenewsUnderAnotherName) {
  KeyUpdateRequest update = own_request();
  update.subject = subject_of(other_station.certificate);
  EXPECT_THAT(refusal_in_answer_to(encode(update, station.key.get())),
              testing::HasSubstr("for another name than st-01's"));
}

TEST_F(CmpRenewal, AnotherKeyNeedsItsOwnProof) {
  KeyUpdateRequest update = own_request();
  update.public_key = PublicKey::from_evp(device_key.get());
  EXPECT_THAT(refusal_in_answer_to(encode(update, station.key.get())),
              testing::HasSubstr("not signed with the key that it asks a certificate for"));
  EXPECT_EQ(answer_to(encode(update, device_key.get())).type, BodyType::kup);
  EXPECT_EQ(authority.renewed.size(), 1U) << "whether it may have one is the authority's to say";
}

TEST_F(CmpRenewal, WhatTheStationHasNotSignedIsNoRenewal) {
  Client client = make_client(make_namesake(station), directly());
  EXPECT_EQ(refusal_of([&] { client.renew([](const Enrolled&) {}); }).code(), ErrorCode::not_authorised);
  EXPECT_TRUE(authority.renewed.empty());
}

TEST_F(CmpRenewal, EveryBitOfItCounts) {
  Bytes body = encode(own_request(), station.key.get());
  for (std::size_t bit = 0; bit < 8 * body.size(); ++bit) {
    Bytes changed = body;
    changed[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    answer_to(changed);
    ASSERT_TRUE(authority.renewed.empty()) << "bit " << bit;
  }
}

TEST_F(CmpRenewal, ReadsOnlyOneRequestWithOneProof) {
  Bytes body = encode(own_request(), station.key.get());
  der::Reader outer(body, kNotAMessage);
  BytesView one = outer.enter(der::kSequence, "").take().whole;
  EXPECT_THAT(refusal_in_answer_to(der::sequence({one, one})), testing::HasSubstr("[protocol]")) << "two";
  EXPECT_THAT(refusal_in_answer_to(der::sequence({})), testing::HasSubstr("[protocol]")) << "none";
  BytesView first = der::Reader(one, kNotAMessage).enter(der::kSequence, "").take().whole;
  EXPECT_THAT(refusal_in_answer_to(der::sequence({der::sequence({first})})),
              testing::HasSubstr("not signed with the key"))
      << "without a proof";
}

TEST_F(CmpRenewal, ACertificateForAnotherKeyIsDisbelieved) {
  StockServer server(ca, station, EVP_sha256());
  server.certified_key = device_key.get();
  Client client = make_client(station, [&](BytesView message) { return server.respond(message); });
  EXPECT_EQ(refusal_of([&] { client.renew([](const Enrolled&) { FAIL() << "was asked"; }); }).code(),
            ErrorCode::certificate_rejected);
}

}  // namespace
}  // namespace fleetroot::cmp
