// A registration authority and the responder that trusts it: p10cr under a shared secret. OpenSSL judges the
// MAC.
#include <gmock/gmock.h>

#include "lib/cmp/registration_authority.h"
#include "tests/expect_error.h"
#include "tests/unit/cmp_fixture.h"
#include "tests/unit/openssl_cmp.h"

namespace fleetroot::cmp {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CmpRegistration : public CmpTest {
 protected:
  CmpRegistration() { responder.trust(secret); }

  Behalf behalf_of(const Party& party, bool may_renew = false) {
    return {.certificate = party.certificate.der(), .may_renew = may_renew};
  }
  Bytes enroll(BytesView pkcs10, Behalf behalf) {
    return RegistrationAuthority(ca.certificate, secret).enroll(pkcs10, std::move(behalf), directly());
  }
  Header header() {
    Header header;
    header.sender = general_name_of(ca.certificate);
    header.recipient = header.sender;
    header.transaction_id = random_bytes(kRandomSize);
    header.sender_nonce = random_bytes(kRandomSize);
    header.implicit_confirm = true;
    header.behalf = behalf_of(station);
    return header;
  }
  std::string refusal_in_answer_to(const Bytes& message) {
    Bytes answer = responder.respond(message, "PO-1");
    EXPECT_TRUE(is_protected_by(parse_message(answer), ca.certificate.public_key()));
    std::string words(as_text(answer));
    return words.find("[not_authorised]") != std::string::npos ? "not_authorised" : words;
  }
  bool openssl_believes(const Bytes& message, std::string_view with) {
    CmpCtxPtr context(OSSL_CMP_CTX_new(nullptr, nullptr));
    OSSL_CMP_CTX_set_log_verbosity(context.get(), OSSL_CMP_LOG_EMERG);
    OSSL_CMP_CTX_set1_secretValue(context.get(), as_bytes(with).data(), static_cast<int>(with.size()));
    bool good = OSSL_CMP_validate_msg(context.get(), parse_openssl_message(message).get()) == 1;
    take_openssl_errors();
    return good;
  }

  std::string secret = "a secret of thirty-two characters";
};

TEST_F(CmpRegistration, AsksInAStationsNameAndNeedsNoConfirmation) {
  Bytes certificate = enroll(request.der(), behalf_of(station));
  ASSERT_EQ(authority.issued.size(), 1U);
  EXPECT_EQ(certificate, authority.issued[0].der());
  EXPECT_THAT(authority.labels, ElementsAre("PO-1"));
  EXPECT_LE(SystemClock().now() - authority.times.at(0).value(), std::chrono::minutes(1));
  EXPECT_THAT(authority.outcomes, IsEmpty());
  EXPECT_EQ(sent.size(), 1U);
}

TEST_F(CmpRegistration, TheStationIsTheOneThatIsNamed) {
  authority.enroll(other_station);
  std::vector<std::string> senders;
  authority.issuing = [&](const Sender& sender, const CertificateRequest&) {
    senders.push_back(sender.name);
  };
  enroll(request.der(), behalf_of(other_station));
  enroll(request.der(), behalf_of(station));
  EXPECT_THAT(senders, ElementsAre("st-02", "st-01"));
}

TEST_F(CmpRegistration, OpenSslFindsTheSameMac) {
  enroll(request.der(), behalf_of(station));
  for (const Bytes& message : {sent.at(0), answers.at(0)}) {
    CmpMessagePtr parsed = parse_openssl_message(message);
    EXPECT_EQ(to_der(i2d_OSSL_CMP_MSG, static_cast<const OSSL_CMP_MSG*>(parsed.get())), message);
    EXPECT_TRUE(openssl_believes(message, secret));
    EXPECT_FALSE(openssl_believes(message, "another secret"));
  }
}

TEST_F(CmpRegistration, AStationsOwnNameIsItsRenewalOnlyWhereThatWasAskedFor) {
  CertificateRequest own = make_request("st-01", station.key.get());
  enroll(own.der(), behalf_of(station));
  EXPECT_THAT(authority.renewed, IsEmpty());
  EXPECT_EQ(authority.labels.size(), 1U) << "a device of this name";
  enroll(request.der(), behalf_of(station, true));
  EXPECT_THAT(authority.renewed, IsEmpty()) << "a device asks once more";
  enroll(own.der(), behalf_of(station, true));
  ASSERT_EQ(authority.renewed.size(), 1U);
  EXPECT_EQ(authority.renewed[0].first, "st-01");
  EXPECT_FALSE(authority.renewed[0].second) << "it named no certificate to be replaced";
}

TEST_F(CmpRegistration, ARefusalComesAsWhatItWas) {
  authority.issuing = [](auto&, auto&) { throw Error(ErrorCode::order_full, "it is full. really", "wait"); };
  Error refusal = error_of([&] { enroll(request.der(), behalf_of(station)); });
  EXPECT_EQ(refusal.code(), ErrorCode::order_full);
  EXPECT_EQ(refusal.message(), "it is full. really");
  EXPECT_EQ(refusal.hint(), "wait");
  EXPECT_EQ(authority.failures.size(), 1U);

  EXPECT_EQ(code_of([&] { enroll(request.der(), behalf_of(other_station)); }), ErrorCode::not_authorised);
  EXPECT_EQ(code_of([&] { enroll(as_bytes("no PKCS#10"), behalf_of(station)); }), ErrorCode::bad_request);
  EXPECT_EQ(code_of([&] { enroll({}, behalf_of(station)); }), ErrorCode::bad_request);
  EXPECT_THAT(authority.issued, IsEmpty());
}

TEST_F(CmpRegistration, NobodyElseAsksInAStationsName) {
  // with the wrong secret, and where none is trusted
  Bytes guessed = encode_with_secret(header(), BodyType::p10cr, request.der(), "another secret");
  EXPECT_EQ(refusal_in_answer_to(guessed), "not_authorised");
  Bytes right = encode_with_secret(header(), BodyType::p10cr, request.der(), secret);
  Responder alone({.certificate = ca.certificate, .key = ca.key.get()}, authority);
  EXPECT_THAT(std::string(as_text(alone.respond(right))), HasSubstr("[not_authorised]"));
  // as an enrolled station, with its own key
  authority.enroll(other_station);
  MessageSigner signer(other_station.certificate, other_station.key.get());
  EXPECT_EQ(refusal_in_answer_to(signer.encode(header(), BodyType::p10cr, request.der())), "not_authorised");
  EXPECT_THAT(authority.issued, IsEmpty());

  responder.respond(right);
  EXPECT_EQ(authority.issued.size(), 1U);
}

TEST_F(CmpRegistration, TheSecretIsForNothingElse) {
  for (BodyType type : {BodyType::kur, BodyType::rr, BodyType::cert_conf, BodyType::error}) {
    Bytes answer = responder.respond(encode_with_secret(header(), type, request.der(), secret));
    EXPECT_THAT(std::string(as_text(answer)), HasSubstr("[protocol]"));
  }
  Header confirming = header();
  confirming.implicit_confirm = false;
  EXPECT_THAT(std::string(as_text(
                  responder.respond(encode_with_secret(confirming, BodyType::p10cr, request.der(), secret)))),
              HasSubstr("[protocol]"));
  Header anonymous = header();
  anonymous.behalf.reset();
  Bytes answer = responder.respond(encode_with_secret(anonymous, BodyType::p10cr, request.der(), secret));
  EXPECT_THAT(std::string(as_text(answer)), HasSubstr("[not_authorised]"));
  EXPECT_THAT(authority.issued, IsEmpty());
}

TEST_F(CmpRegistration, EveryBitOfTheRequestIsProtected) {
  enroll(request.der(), behalf_of(station));
  const Bytes whole = sent.at(0);
  for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    Bytes message = whole;
    message[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    try {
      responder.respond(message);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::protocol);
    }
    ASSERT_EQ(authority.issued.size(), 1U) << bit;
  }
}

TEST_F(CmpRegistration, BelievesTheAnswerToItsOwnRequestAlone) {
  RegistrationAuthority registration(ca.certificate, secret);
  auto answered_with = [&](const std::function<Bytes(const Message&)>& answer) {
    return code_of([&] {
      registration.enroll(request.der(), behalf_of(station), [&](BytesView message) {
        Bytes own(message.begin(), message.end());
        return answer(parse_message(own));
      });
    });
  };
  CertificateResponse response{
      .request_id = 0, .status = {}, .certificate = station.certificate.der(), .publications = {}};
  auto header_to = [&](const Message& asked) {
    Header header;
    header.sender = header.recipient = general_name_of(ca.certificate);
    header.transaction_id = asked.header.transaction_id;
    header.recipient_nonce = asked.header.sender_nonce;
    return header;
  };
  auto protect = [&](Header header) {
    return encode_with_secret(std::move(header), BodyType::cp, encode(response), secret);
  };
  EXPECT_EQ(answered_with([&](const Message& asked) {
              return MessageSigner(ca.certificate, ca.key.get())
                  .encode(header_to(asked), BodyType::cp, encode(response));
            }),
            ErrorCode::protocol)
      << "signed by the CA, and not by who shares the secret";
  EXPECT_EQ(answered_with([&](const Message& asked) {
              Header header = header_to(asked);
              header.recipient_nonce = random_bytes(kRandomSize);
              return protect(header);
            }),
            ErrorCode::protocol);
  EXPECT_EQ(answered_with([&](const Message& asked) {
              Header header = header_to(asked);
              header.transaction_id = random_bytes(kRandomSize);
              return protect(header);
            }),
            ErrorCode::protocol);
  EXPECT_EQ(answered_with([&](const Message& asked) {
              return encode_with_secret(header_to(asked), BodyType::pki_conf, encode_confirmed(), secret);
            }),
            ErrorCode::protocol);
  Bytes certificate = registration.enroll(request.der(), behalf_of(station), [&](BytesView message) {
    Bytes own(message.begin(), message.end());
    return protect(header_to(parse_message(own)));
  });
  EXPECT_EQ(certificate, station.certificate.der());
}

}  // namespace
}  // namespace fleetroot::cmp
