// What the responder makes of messages that no honest station sends.
#include <openssl/cmp.h>

#include <algorithm>

#include "lib/cmp/wire.h"
#include "tests/unit/cmp_fixture.h"
#include "tests/unit/openssl_cmp.h"

namespace fleetroot::cmp {
namespace {

class CmpResponderTest : public CmpTest {
 protected:
  // A message as stock OpenSSL sends it with other settings than ours; nothing is answered.
  Bytes first_message(const std::function<void(OSSL_CMP_CTX*)>& settings, int type = OSSL_CMP_P10CR) {
    CmpCtxPtr context(OSSL_CMP_CTX_new(nullptr, nullptr));
    OSSL_CMP_CTX_set_log_verbosity(context.get(), OSSL_CMP_LOG_EMERG);
    OSSL_CMP_CTX_set1_recipient(context.get(), X509_get_subject_name(ca.certificate.x509()));
    OSSL_CMP_CTX_set1_p10CSR(context.get(), request.x509_req());
    settings(context.get());
    Bytes message;
    OSSL_CMP_CTX_set_transfer_cb_arg(context.get(), &message);
    OSSL_CMP_CTX_set_transfer_cb(context.get(), [](OSSL_CMP_CTX* ctx, const OSSL_CMP_MSG* first) {
      *static_cast<Bytes*>(OSSL_CMP_CTX_get_transfer_cb_arg(ctx)) = to_der(i2d_OSSL_CMP_MSG, first);
      return static_cast<OSSL_CMP_MSG*>(nullptr);
    });
    OSSL_CMP_try_certreq(context.get(), type, nullptr, nullptr);
    EXPECT_FALSE(message.empty()) << take_openssl_errors();
    take_openssl_errors();
    return message;
  }
  void sign_as_station(OSSL_CMP_CTX* context) {
    OSSL_CMP_CTX_set1_cert(context, station.certificate.x509());
    OSSL_CMP_CTX_set1_pkey(context, station.key.get());
  }
  // Whether `answer` is signed by the CA, whatever it says.
  bool is_signed_by_ca(const Bytes& answer) {
    CmpCtxPtr context(OSSL_CMP_CTX_new(nullptr, nullptr));
    OSSL_CMP_CTX_set_log_verbosity(context.get(), OSSL_CMP_LOG_EMERG);
    OSSL_CMP_CTX_set1_srvCert(context.get(), ca.certificate.x509());
    bool good = OSSL_CMP_validate_msg(context.get(), parse_openssl_message(answer).get()) == 1;
    take_openssl_errors();
    return good;
  }
  static int body_of(const Bytes& message) {
    return OSSL_CMP_MSG_get_bodytype(parse_openssl_message(message).get());
  }
  static bool says(const Bytes& message, std::string_view words) {
    return as_text(message).find(words) != std::string_view::npos;
  }
  using Edit = std::function<Bytes(const Bytes&)>;
  static Bytes unchanged(const Bytes& part) { return part; }
  // To the last one.
  Bytes answered;
  // Enrolls, with body and header of the certConf replaced by what is made of them, and signed by the
  // station.
  void enroll_with_confirmation(const Edit& edit, const Edit& edit_header = unchanged) {
    Client client = make_client(station, [&](BytesView message) {
      if (body_of(Bytes(message.begin(), message.end())) != kCertConf) return responder.respond(message);
      answered = responder.respond(resigned(message, edit, edit_header));
      return answered;
    });
    try {
      client.enroll(request, [](const Enrolled&) {});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::ca_unreachable);
    }
  }
  Bytes resigned(BytesView message, const Edit& edit, const Edit& edit_header) {
    BytesView rest = content_of(message);
    BytesView header = take(rest);
    BytesView body = take(rest);
    Bytes parts = edit_header(Bytes(header.begin(), header.end()));
    Bytes edited = edit(Bytes(body.begin(), body.end()));
    parts.insert(parts.end(), edited.begin(), edited.end());
    Bytes to_sign = element(0x30, parts);
    EvpMdCtxPtr context(EVP_MD_CTX_new());
    Bytes signature(80, 0);
    std::size_t size = signature.size() - 1;
    EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, station.key.get());
    EXPECT_EQ(EVP_DigestSign(context.get(), signature.data() + 1, &size, to_sign.data(), to_sign.size()), 1);
    signature.resize(1 + size);  // the BIT STRING's first octet counts its unused bits
    Bytes protection = element(0xa0, element(0x03, signature));
    parts.insert(parts.end(), protection.begin(), protection.end());
    return element(0x30, parts);
  }
  static std::size_t head_size(BytesView der) { return der[1] < 0x80 ? 2 : 2 + (der[1] & 0x7fU); }
  static std::size_t content_size(BytesView der) {
    if (der[1] < 0x80) return der[1];
    std::size_t size = 0;
    for (std::size_t i = 2; i < head_size(der); ++i) size = size << 8 | der[i];
    return size;
  }
  static BytesView content_of(BytesView der) { return der.subspan(head_size(der)); }
  static BytesView take(BytesView& rest) {
    std::size_t size = head_size(rest) + content_size(rest);
    BytesView taken = rest.first(size);
    rest = rest.subspan(size);
    return taken;
  }
  static Bytes element(std::uint8_t tag, const Bytes& content) {
    Bytes der{tag};
    if (content.size() >= 0x100) {
      der.push_back(0x82);
      der.push_back(static_cast<std::uint8_t>(content.size() >> 8));
    } else if (content.size() >= 0x80) {
      der.push_back(0x81);
    }
    der.push_back(static_cast<std::uint8_t>(content.size()));
    der.insert(der.end(), content.begin(), content.end());
    return der;
  }
  // Of a refusal, as a certificate response or as an error message.
  static std::optional<Failure> failure_in(const Bytes& answer) {
    Message message = parse_message(answer);
    if (message.type == BodyType::error) return parse_error(message.body).failure;
    return parse_certificate_response(message.body).status.failure;
  }
  void expect_refusal(const Bytes& message, std::string_view code) {
    Bytes answer = responder.respond(message);
    EXPECT_TRUE(is_signed_by_ca(answer));
    EXPECT_TRUE(says(answer, code)) << as_text(answer);
    EXPECT_EQ(parse_message(answer).header.transaction_id, parse_message(message).header.transaction_id);
    EXPECT_TRUE(authority.issued.empty());
  }
};

TEST_F(CmpResponderTest, RefusesUnprotectedMessages) {
  Bytes anonymous = first_message([&](OSSL_CMP_CTX* context) {
    OSSL_CMP_CTX_set_option(context, OSSL_CMP_OPT_UNPROTECTED_SEND, 1);
    OSSL_CMP_CTX_set1_subjectName(context, X509_get_subject_name(station.certificate.x509()));
  });
  expect_refusal(anonymous, "the CMP message is not signed. ");
  expect_refusal(anonymous, "[not_authorised]");
  // The same with the name and key identifier of an enrolled station.
  Bytes impersonating = first_message([&](OSSL_CMP_CTX* context) {
    OSSL_CMP_CTX_set_option(context, OSSL_CMP_OPT_UNPROTECTED_SEND, 1);
    OSSL_CMP_CTX_set1_cert(context, station.certificate.x509());
    Bytes id = *from_hex(station.certificate.subject_key_identifier());
    OSSL_CMP_CTX_set1_referenceValue(context, id.data(), static_cast<int>(id.size()));
  });
  ASSERT_EQ(to_hex(parse_message(impersonating).header.sender_key_id),
            station.certificate.subject_key_identifier());
  expect_refusal(impersonating, "the CMP message is not signed. ");
  expect_refusal(impersonating, "[not_authorised]");
}

// Whoever has got hold of a station's bytes, and is another one by the transport.
TEST_F(CmpResponderTest, GivesAStationsMessageNoAnswerOnAnothersConnection) {
  authority.enroll(other_station);
  Bytes peer = *from_hex(station.certificate.subject_key_identifier());
  Bytes other_peer = *from_hex(other_station.certificate.subject_key_identifier());
  auto answer_to = [&](const Bytes& message, const Bytes& from) {
    return run_alone(responder.answer(message, "PO-1", from));
  };
  Bytes message = request_message(
      {.certificate = station.certificate, .chain = {ca.certificate}, .key = station.key.get()},
      ca.certificate, request);
  Bytes refusal = answer_to(message, other_peer);
  EXPECT_TRUE(is_signed_by_ca(refusal));
  EXPECT_TRUE(says(refusal, "[not_authorised]"));
  EXPECT_TRUE(says(refusal, "st-01"));
  EXPECT_TRUE(authority.issued.empty());
  Bytes answer = answer_to(message, peer);
  EXPECT_EQ(authority.issued.size(), 1U);
  EXPECT_TRUE(says(answer_to(message, other_peer), "[not_authorised]"))
      << "nor the open transaction's answer";
  EXPECT_EQ(answer_to(message, peer), answer);
}

TEST_F(CmpResponderTest, RefusesPasswordBasedProtection) {
  Bytes message = first_message([&](OSSL_CMP_CTX* context) {
    Bytes id = *from_hex(station.certificate.subject_key_identifier());
    OSSL_CMP_CTX_set1_referenceValue(context, id.data(), static_cast<int>(id.size()));
    OSSL_CMP_CTX_set1_secretValue(context, id.data(), static_cast<int>(id.size()));
    OSSL_CMP_CTX_set1_subjectName(context, X509_get_subject_name(station.certificate.x509()));
  });
  ASSERT_EQ(to_hex(parse_message(message).header.sender_key_id),
            station.certificate.subject_key_identifier());
  expect_refusal(message, "[not_authorised]");
}

TEST_F(CmpResponderTest, RefusesOtherKindsOfRequests) {
  for (int type : {OSSL_CMP_IR, OSSL_CMP_CR}) {
    Bytes message = first_message(
        [&](OSSL_CMP_CTX* context) {
          sign_as_station(context);
          EVP_PKEY_up_ref(device_key.get());
          OSSL_CMP_CTX_set0_newPkey(context, 1, device_key.get());
        },
        type);
    expect_refusal(message, "[protocol]");
  }
}

TEST_F(CmpResponderTest, ThrowsForBytesThatAreNoMessage) {
  Bytes message = first_message([&](OSSL_CMP_CTX* context) { sign_as_station(context); });
  for (Bytes bytes : {Bytes{}, Bytes(100, 0x30), station.certificate.der(), request.der()}) {
    EXPECT_EQ(refusal_of([&] { responder.respond(bytes); }).code(), ErrorCode::protocol);
  }
  message.push_back(0);
  EXPECT_EQ(refusal_of([&] { responder.respond(message); }).code(), ErrorCode::protocol);
}

TEST_F(CmpResponderTest, GivesALostAnswerAgainWithoutIssuingTwice) {
  Bytes message = first_message([&](OSSL_CMP_CTX* context) { sign_as_station(context); });
  Bytes first = responder.respond(message);
  EXPECT_EQ(responder.respond(message), first);
  EXPECT_EQ(authority.issued.size(), 1U);
}

// Revoked between its request and what follows: nothing of an open transaction is its own any more.
TEST_F(CmpResponderTest, ARevokedStationIsNotHeardInATransactionThatItHadOpen) {
  Bytes message = first_message([&](OSSL_CMP_CTX* context) { sign_as_station(context); });
  responder.respond(message);
  authority.enrolled.clear();
  Bytes again = responder.respond(message);
  EXPECT_TRUE(says(again, "[not_authorised]"));
  EXPECT_FALSE(says(again, as_text(authority.issued[0].der())));

  authority.enroll(station);
  Client client = make_client(station, [&](BytesView bytes) {
    if (body_of(Bytes(bytes.begin(), bytes.end())) == kCertConf) authority.enrolled.clear();
    return responder.respond(bytes);
  });
  EXPECT_EQ(refusal_of([&] { client.enroll(request, [](const Enrolled&) {}); }).code(),
            ErrorCode::ca_unreachable);
  EXPECT_TRUE(authority.outcomes.empty());
}

TEST_F(CmpResponderTest, RefusesASecondRequestUnderAnOpenTransactionId) {
  auto with_id = [&](const Party& as, std::uint8_t octet) {
    return first_message([&](OSSL_CMP_CTX* context) {
      OSSL_CMP_CTX_set1_cert(context, as.certificate.x509());
      OSSL_CMP_CTX_set1_pkey(context, as.key.get());
      ASN1_OCTET_STRING* id = ASN1_OCTET_STRING_new();
      ASN1_OCTET_STRING_set(id, &octet, 1);
      OSSL_CMP_CTX_set1_transactionID(context, id);
      ASN1_OCTET_STRING_free(id);
    });
  };
  responder.respond(with_id(station, 7));
  Bytes answer = responder.respond(with_id(station, 7));
  EXPECT_TRUE(says(answer, "[protocol]"));
  EXPECT_EQ(failure_in(answer), Failure::transaction_id_in_use);
  EXPECT_EQ(authority.issued.size(), 1U);
  // Another station may use the same ID by chance; it is another transaction.
  authority.enroll(other_station);
  EXPECT_FALSE(says(responder.respond(with_id(other_station, 7)), "[protocol]"));
  EXPECT_EQ(authority.issued.size(), 2U);
}

TEST_F(CmpResponderTest, TakesAConfirmationOnlyOnce) {
  enroll(station);
  Bytes again = responder.respond(sent.at(1));
  EXPECT_TRUE(is_signed_by_ca(again));
  EXPECT_EQ(body_of(again), kErrorBody);
  EXPECT_EQ(authority.outcomes.size(), 1U);
}

// Everything is as the station would send it but the protection of the confirmation.
TEST_F(CmpResponderTest, TakesAConfirmationOnlyFromTheStationThatAsked) {
  authority.enroll(other_station);
  Party thief = make_namesake(station);
  struct Change {
    const char* what;
    std::function<void(OSSL_CMP_CTX*)> change;
    std::size_t outcomes;
  };
  auto become = [](const Party& party) {
    return [&party](OSSL_CMP_CTX* context) {
      OSSL_CMP_CTX_set1_cert(context, party.certificate.x509());
      OSSL_CMP_CTX_set1_pkey(context, party.key.get());
    };
  };
  auto protect_nothing = [](OSSL_CMP_CTX* context) {
    OSSL_CMP_CTX_set_option(context, OSSL_CMP_OPT_UNPROTECTED_SEND, 1);
    OSSL_CMP_CTX_set1_cert(context, nullptr);
  };
  for (const Change& change :
       {Change{"nothing", [](OSSL_CMP_CTX*) {}, 1}, Change{"the key", become(thief), 0},
        Change{"the station", become(other_station), 0}, Change{"no protection", protect_nothing, 0}}) {
    authority.outcomes.clear();
    CmpCtxPtr context(OSSL_CMP_CTX_new(nullptr, nullptr));
    OSSL_CMP_CTX_set_log_verbosity(context.get(), OSSL_CMP_LOG_EMERG);
    OSSL_CMP_CTX_set1_srvCert(context.get(), ca.certificate.x509());
    OSSL_CMP_CTX_set1_p10CSR(context.get(), request.x509_req());
    OSSL_CMP_CTX_set_certConf_cb(context.get(), [](OSSL_CMP_CTX*, X509*, int, const char**) { return 0; });
    sign_as_station(context.get());
    auto transfer = [&](OSSL_CMP_CTX* ctx, const OSSL_CMP_MSG* message) {
      Bytes answer = responder.respond(to_der(i2d_OSSL_CMP_MSG, message));
      change.change(ctx);
      return parse_openssl_message(answer).release();
    };
    OSSL_CMP_CTX_set_transfer_cb_arg(context.get(), &transfer);
    OSSL_CMP_CTX_set_transfer_cb(context.get(), [](OSSL_CMP_CTX* ctx, const OSSL_CMP_MSG* message) {
      return (*static_cast<decltype(transfer)*>(OSSL_CMP_CTX_get_transfer_cb_arg(ctx)))(ctx, message);
    });
    bool done = OSSL_CMP_try_certreq(context.get(), OSSL_CMP_P10CR, nullptr, nullptr) == 1;
    take_openssl_errors();
    EXPECT_EQ(done, change.outcomes == 1) << change.what;
    EXPECT_EQ(authority.outcomes.size(), change.outcomes) << change.what;
  }
}

TEST_F(CmpResponderTest, SurvivesAForgedConfirmation) {
  Client client = make_client(station, [&](BytesView message) {
    if (body_of(Bytes(message.begin(), message.end())) == kCertConf) {
      Bytes forged(message.begin(), message.end());
      // The signature is the last BIT STRING before extraCerts: any flipped octet of the certHash breaks it.
      std::string hash(as_text(sha256(authority.issued.at(0).der())));
      std::size_t position = as_text(forged).find(hash);
      EXPECT_NE(position, std::string_view::npos);
      forged.at(position) ^= 1;
      Bytes answer = responder.respond(forged);
      EXPECT_EQ(body_of(answer), kErrorBody);
      EXPECT_EQ(failure_in(answer), Failure::bad_message_check);
      EXPECT_TRUE(authority.outcomes.empty());
    }
    return responder.respond(message);
  });
  client.enroll(request, [](const Enrolled&) {});
  ASSERT_EQ(authority.outcomes.size(), 1U);
  EXPECT_TRUE(authority.outcomes[0].accepted);
}

// The station's own certConf with another body, signed anew with the station's key.
TEST_F(CmpResponderTest, ConfirmsOnlyTheCertificateWhoseHashTheStationNames) {
  enroll_with_confirmation([&](const Bytes& body) {
    Bytes changed = body;
    std::size_t hash = as_text(body).find(as_text(sha256(authority.issued.at(0).der())));
    EXPECT_NE(hash, std::string_view::npos);
    changed.at(hash) ^= 1;
    return changed;
  });
  EXPECT_TRUE(authority.outcomes.empty());
}

TEST_F(CmpResponderTest, TakesAConfirmationOnlyOfItsOwnAnswer) {
  auto with_another_nonce = [](const Bytes& header) {
    Bytes changed = header;
    changed.back() ^= 1;  // recipNonce is the last field
    return changed;
  };
  enroll_with_confirmation(unchanged, with_another_nonce);
  EXPECT_EQ(failure_in(answered), Failure::bad_recipient_nonce);
  EXPECT_TRUE(authority.outcomes.empty());
}

TEST_F(CmpResponderTest, SpeaksVersion2Alone) {
  Bytes message = first_message([&](OSSL_CMP_CTX* context) { sign_as_station(context); });
  // PKIMessage { PKIHeader { pvno INTEGER 2
  Bytes version = *from_hex("020102");
  auto found = std::search(message.begin(), message.end(), version.begin(), version.end());
  ASSERT_LT(found - message.begin(), 12);
  found[2] = 3;
  expect_refusal(message, "[protocol]");
  EXPECT_EQ(body_of(responder.respond(message)), kErrorBody);
  EXPECT_EQ(failure_in(responder.respond(message)), Failure::unsupported_version);
}

TEST_F(CmpResponderTest, TakesAnEmptyConfirmationForARejection) {
  enroll_with_confirmation([](const Bytes&) { return *from_hex("b8023000"); });
  ASSERT_EQ(authority.outcomes.size(), 1U);
  EXPECT_FALSE(authority.outcomes[0].accepted);
}

TEST_F(CmpResponderTest, TakesAResignedConfirmationThatIsUnchanged) {
  enroll_with_confirmation([](const Bytes& body) { return body; });
  ASSERT_EQ(authority.outcomes.size(), 1U);
  EXPECT_TRUE(authority.outcomes[0].accepted);
}

TEST_F(CmpResponderTest, TakesARevocationFromWhoeverSignedIt) {
  Certificate certificate = enroll(station).certificate;
  // As stock OpenSSL asks for it; whether it is told that this was done.
  auto revoke = [&](const Party& as) {
    CmpCtxPtr context(OSSL_CMP_CTX_new(nullptr, nullptr));
    OSSL_CMP_CTX_set_log_verbosity(context.get(), OSSL_CMP_LOG_EMERG);
    OSSL_CMP_CTX_set1_srvCert(context.get(), ca.certificate.x509());
    OSSL_CMP_CTX_set1_cert(context.get(), as.certificate.x509());
    OSSL_CMP_CTX_set1_pkey(context.get(), as.key.get());
    OSSL_CMP_CTX_set1_oldCert(context.get(), certificate.x509());
    OSSL_CMP_CTX_set_option(context.get(), OSSL_CMP_OPT_REVOCATION_REASON, 4);
    OSSL_CMP_CTX_set_transfer_cb_arg(context.get(), &responder);
    OSSL_CMP_CTX_set_transfer_cb(context.get(), [](OSSL_CMP_CTX* ctx, const OSSL_CMP_MSG* message) {
      auto* by = static_cast<Responder*>(OSSL_CMP_CTX_get_transfer_cb_arg(ctx));
      return parse_openssl_message(by->respond(to_der(i2d_OSSL_CMP_MSG, message))).release();
    });
    bool done = OSSL_CMP_exec_RR_ses(context.get()) == 1;
    take_openssl_errors();
    return done;
  };
  EXPECT_FALSE(revoke(make_namesake(station))) << "the key identifier alone is no signature";
  EXPECT_FALSE(revoke(other_station)) << "it is not enrolled";
  EXPECT_TRUE(authority.revoked.empty());
  EXPECT_TRUE(revoke(station));
  ASSERT_EQ(authority.revoked.size(), 1U);
  EXPECT_EQ(authority.revoked[0].first, "st-01");
  EXPECT_EQ(authority.revoked[0].second.certificate.serial, certificate.serial());
  EXPECT_EQ(authority.revoked[0].second.reason, RevocationReason::superseded);
  EXPECT_EQ(authority.revoked[0].second.certificate.issuer,
            to_der(i2d_X509_NAME, X509_get_issuer_name(certificate.x509())));
}

TEST_F(CmpResponderTest, ReadsOnlyRevocationsThatNameOneCertificate) {
  auto parses = [](std::string_view hex) {
    Bytes body = *from_hex(hex);
    try {
      parse_revocation_request(body);
      return true;
    } catch (const Error&) {
      return false;
    }
  };
  // RevReqContent { RevDetails { CertTemplate { [1] serial 5, [3] an empty name } } }
  EXPECT_TRUE(
      parses("300b3009"
             "3007"
             "810105"
             "a3023000"));
  EXPECT_FALSE(
      parses("3016"
             "30093007810105a3023000"
             "30093007810105a3023000"))
      << "two";
  EXPECT_FALSE(
      parses("300e300c"
             "300a"
             "810105"
             "810106"
             "a3023000"))
      << "two serial numbers";
  EXPECT_FALSE(parses("3000")) << "none";
  EXPECT_FALSE(
      parses("30073005"
             "3003"
             "810105"))
      << "no issuer";
  EXPECT_FALSE(
      parses("30083006"
             "3004"
             "a3023000"))
      << "no serial number";
  EXPECT_FALSE(
      parses("300b3009"
             "3007"
             "8101ff"
             "a3023000"))
      << "a negative one";
  EXPECT_FALSE(
      parses("300b3009"
             "3007"
             "810105"
             "a302300000"))
      << "bytes behind it";
}

TEST_F(CmpResponderTest, ForgetsTransactionsAfterAWhile) {
  Error heard =
      refusal_of([&] { enroll(station, [&](const Enrolled&) { now += Responder::kTransactionTimeout; }); });
  EXPECT_EQ(heard.code(), ErrorCode::ca_unreachable);
  EXPECT_TRUE(authority.outcomes.empty());
  enroll(station, [&](const Enrolled&) { now += Responder::kTransactionTimeout - std::chrono::seconds(1); });
  EXPECT_EQ(authority.outcomes.size(), 1U);
}

TEST_F(CmpResponderTest, ForgetsTheOldestTransactionWhenThereAreTooMany) {
  auto open_transactions = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      now += std::chrono::milliseconds(1);
      responder.respond(first_message([&](OSSL_CMP_CTX* context) { sign_as_station(context); }));
    }
  };
  enroll(station, [&](const Enrolled&) { open_transactions(Responder::kMaximumTransactions - 1); });
  EXPECT_EQ(authority.outcomes.size(), 1U);
  Error heard = refusal_of(
      [&] { enroll(station, [&](const Enrolled&) { open_transactions(Responder::kMaximumTransactions); }); });
  EXPECT_EQ(heard.code(), ErrorCode::ca_unreachable);
  EXPECT_EQ(authority.outcomes.size(), 1U);
}

}  // namespace
}  // namespace fleetroot::cmp
