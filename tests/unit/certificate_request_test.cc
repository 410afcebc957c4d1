// PKCS#10: what is made, and each thing for which a request is refused.
#include "lib/x509/certificate_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "lib/x509/provisioning_statement.h"
#include "tests/expect_error.h"
#include "tests/judge.h"
#include "tests/scratch_directory.h"
#include "tests/software_pki.h"

namespace fleetroot {
namespace {

using testing::HasSubstr;

constexpr const char* kStatement =
    R"({"bay":"","format":"fleetroot-statement/1","key_always_sensitive":true,"key_local":true,)"
    R"("key_never_extractable":true,"key_sensitive":true,"mechanism":"m","order":"PO-1","station":"st-01",)"
    R"("time":"t","token_firmware":"","token_manufacturer":"","token_model":"","token_serial":""})";

// How a request differs from a good one.
struct Doctored {
  std::function<void(X509_REQ*)> change = [](X509_REQ*) {};
  ExtensionTexts extensions = {};
  int extensions_nid = NID_ext_req;
  KeyAlgorithm algorithm = KeyAlgorithm::p256;
  const EVP_MD* digest = EVP_sha256();
  bool with_pss = false;
  const EVP_MD* mask_digest = EVP_sha256();
  std::string common_name = "dev-1";
  // Octets to exchange before the signature, in hexadecimal: for what OpenSSL does not let one build.
  std::pair<std::string, std::string> exchange = {};
};

void sign(X509_REQ* request, EVP_PKEY* key, const Doctored& doctored) {
  EvpMdCtxPtr context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* key_context = nullptr;
  ASSERT_EQ(EVP_DigestSignInit(context.get(), &key_context, doctored.digest, nullptr, key), 1);
  if (doctored.with_pss) {
    ASSERT_GT(EVP_PKEY_CTX_set_rsa_padding(key_context, RSA_PKCS1_PSS_PADDING), 0);
    ASSERT_GT(EVP_PKEY_CTX_set_rsa_mgf1_md(key_context, doctored.mask_digest), 0);
  }
  ASSERT_GT(X509_REQ_sign_ctx(request, context.get()), 0) << take_openssl_errors();
}

void add_extensions(X509_REQ* request, const ExtensionTexts& extensions, int attribute_nid) {
  STACK_OF(X509_EXTENSION)* stack = sk_X509_EXTENSION_new_null();
  for (const auto& extension : extensions) sk_X509_EXTENSION_push(stack, make_extension(extension).release());
  EXPECT_EQ(X509_REQ_add_extensions_nid(request, stack, attribute_nid), 1);
  sk_X509_EXTENSION_pop_free(stack, X509_EXTENSION_free);
}

CertificateRequest make(const Doctored& doctored) {
  EvpPkeyPtr key = software_key(doctored.algorithm);
  X509ReqPtr request(X509_REQ_new());
  set_common_name(X509_REQ_get_subject_name(request.get()), doctored.common_name);
  X509_REQ_set_pubkey(request.get(), key.get());
  if (!doctored.extensions.empty()) {
    add_extensions(request.get(), doctored.extensions, doctored.extensions_nid);
  }
  doctored.change(request.get());
  sign(request.get(), key.get(), doctored);
  if (!doctored.exchange.first.empty()) {
    std::string hex = to_hex(to_der(i2d_X509_REQ, static_cast<const X509_REQ*>(request.get())));
    std::size_t at = hex.find(doctored.exchange.first);
    EXPECT_NE(at, std::string::npos);
    Bytes der = *from_hex(hex.replace(at, doctored.exchange.first.size(), doctored.exchange.second));
    const unsigned char* in = der.data();
    request.reset(d2i_X509_REQ(nullptr, &in, static_cast<long>(der.size())));
    sign(request.get(), key.get(), doctored);
  }
  return CertificateRequest::from_der(to_der(i2d_X509_REQ, static_cast<const X509_REQ*>(request.get())));
}

std::string refusal_of(const Doctored& doctored, RequestKind kind = RequestKind::end_entity) {
  Error error = error_of([&] { make(doctored).refuse_unless_sound(kind); });
  EXPECT_EQ(error.code(), ErrorCode::bad_request) << error.what();
  EXPECT_FALSE(error.hint().empty());
  return error.message();
}

class EveryKind : public testing::TestWithParam<KeyAlgorithm> {};

TEST_P(EveryKind, MakesARequestThatOpensslVerifies) {
  EvpPkeyPtr key = software_key(GetParam());
  PublicKey public_key = PublicKey::from_evp(key.get());
  CertificateRequest request = CertificateRequest::create("dev-1", public_key, key.get(), kStatement);
  EXPECT_NO_THROW(request.refuse_unless_sound());
  EXPECT_EQ(request.common_name(), "dev-1");
  EXPECT_EQ(request.public_key(), public_key);
  EXPECT_EQ(request.statement_json(), kStatement);
  EXPECT_EQ(CertificateRequest::from_pem(request.pem()).der(), request.der());
  EXPECT_EQ(CertificateRequest::from_pem(as_text(request.der())).der(), request.der());

  ScratchDirectory directory;
  write_file(directory / "r.pem", request.pem());
  Judgement judgement =
      judge({"openssl", "req", "-in", directory / "r.pem", "-verify", "-noout", "-subject"});
  EXPECT_TRUE(judgement.accepted());
  EXPECT_TRUE(judgement.says("CN = dev-1")) << judgement.output;
}

INSTANTIATE_TEST_SUITE_P(Keys, EveryKind, testing::ValuesIn(kKeyAlgorithms),
                         [](const auto& kind) { return std::string(name_of(kind.param)); });

TEST(Requests, AGoodOneIsSound) {
  EXPECT_NO_THROW(make({}).refuse_unless_sound());
  EXPECT_EQ(make({}).statement_json(), std::nullopt);
}

TEST(Requests, HarmlessWishesAreNotRefused) {
  EXPECT_NO_THROW(make({.extensions = {{"basicConstraints", "critical,CA:FALSE"},
                                       {"keyUsage", "critical,digitalSignature"},
                                       {"subjectAltName", "DNS:example.test"},
                                       {"1.2.3.4", "DER:0500"}}})
                      .refuse_unless_sound());
}

TEST(Requests, SignedByAnotherKeyThanTheirOwnAreNotMade) {
  PublicKey public_key = PublicKey::from_evp(software_key().get());
  EXPECT_EQ(code_of([&] { CertificateRequest::create("dev-1", public_key, software_key().get()); }),
            ErrorCode::token_untrusted);
}

TEST(Requests, ThatCannotBeReadAreRefused) {
  Bytes longer = make({}).der();
  longer.push_back(0);
  EXPECT_EQ(code_of([&] { CertificateRequest::from_der(longer); }), ErrorCode::bad_request);
  EXPECT_EQ(code_of([] { CertificateRequest::from_der({}); }), ErrorCode::bad_request);
  EXPECT_EQ(code_of([] { CertificateRequest::from_pem("hello"); }), ErrorCode::bad_request);
}

TEST(Requests, OfAnotherVersionAreRefused) {
  EXPECT_THAT(refusal_of({.change = [](X509_REQ* request) { X509_REQ_set_version(request, 1); }}),
              HasSubstr("version"));
}

TEST(Requests, WithoutExactlyOneCommonNameAreRefused) {
  auto second = [](X509_REQ* request) { set_common_name(X509_REQ_get_subject_name(request), "dev-2"); };
  EXPECT_THAT(refusal_of({.change = second}), HasSubstr("exactly one CN"));
  auto none = [](X509_REQ* request) {
    X509_REQ_set_subject_name(request, X509NamePtr(X509_NAME_new()).get());
  };
  EXPECT_THAT(refusal_of({.change = none}), HasSubstr("exactly one CN"));
  EXPECT_THAT(refusal_of({.common_name = std::string("a\0b", 3)}), HasSubstr("exactly one CN"));
}

TEST(Requests, WithAKeyThatIsNotOursAreRefused) {
  auto other_curve = [](X509_REQ* request) {
    X509_REQ_set_pubkey(request, EvpPkeyPtr(EVP_EC_gen("secp256k1")).get());
  };
  EXPECT_THAT(refusal_of({.change = other_curve}), HasSubstr("of a kind that is not accepted"));
}

TEST(Requests, WithABadSignatureAreRefused) {
  // Signed with its key, and then given another.
  auto swap_key = [](X509_REQ* request) { X509_REQ_set_pubkey(request, software_key().get()); };
  EXPECT_THAT(refusal_of({.change = swap_key}), HasSubstr("does not verify"));
  Bytes der = make({}).der();
  der.back() ^= 1;
  EXPECT_EQ(code_of([&] { CertificateRequest::from_der(der).refuse_unless_sound(); }),
            ErrorCode::bad_request);
}

TEST(Requests, AreReadOneAtATime) {
  CertificateRequest request = make({});
  EXPECT_EQ(CertificateRequest::from_pem(request.pem()).der(), request.der());
  EXPECT_THAT(error_of([&] { CertificateRequest::from_pem(request.pem() + make({}).pem()); }).message(),
              HasSubstr("more than one"));
}

TEST(Requests, SignedOverAWeakDigestAreRefused) {
  EXPECT_THAT(refusal_of({.digest = EVP_sha1()}), HasSubstr("ecdsa-with-SHA1"));
  EXPECT_THAT(refusal_of({.algorithm = KeyAlgorithm::rsa2048, .digest = EVP_sha1()}), HasSubstr("sha1With"));
  EXPECT_THAT(refusal_of({.algorithm = KeyAlgorithm::rsa2048, .digest = EVP_md5()}), HasSubstr("md5With"));
  EXPECT_THAT(refusal_of({.algorithm = KeyAlgorithm::rsa2048, .digest = EVP_sha1(), .with_pss = true}),
              HasSubstr("rsassaPss"));
  EXPECT_THAT(refusal_of({.algorithm = KeyAlgorithm::rsa2048, .with_pss = true, .mask_digest = EVP_sha1()}),
              HasSubstr("rsassaPss"));
  EXPECT_NO_THROW(make({.algorithm = KeyAlgorithm::rsa2048, .with_pss = true}).refuse_unless_sound());
  EXPECT_NO_THROW(make({.digest = EVP_sha512()}).refuse_unless_sound());
}

TEST(Requests, ForTheRightsOfACaAreRefusedToEndEntities) {
  const std::vector<ExtensionTexts> wishes{
      {{"basicConstraints", "critical,CA:TRUE"}},
      {{"basicConstraints", "CA:TRUE,pathlen:0"}},
      {{"keyUsage", "critical,digitalSignature,keyCertSign"}},
      {{"keyUsage", "cRLSign"}},
  };
  for (const ExtensionTexts& wish : wishes) {
    EXPECT_THAT(refusal_of({.extensions = wish}), HasSubstr("rights of a CA")) << wish[0].second;
    // Where Microsoft's tools put their extensions.
    EXPECT_THAT(refusal_of({.extensions = wish, .extensions_nid = NID_ms_ext_req}),
                HasSubstr("rights of a CA"));
  }
}

TEST(Requests, OfACaSayThatItIsOne) {
  auto as_microsoft_puts_it =
      make({.extensions = {{"basicConstraints", "critical,CA:TRUE"}}, .extensions_nid = NID_ms_ext_req});
  EXPECT_NO_THROW(as_microsoft_puts_it.refuse_unless_sound(RequestKind::authority));
  EXPECT_NO_THROW(make({.extensions = {{"basicConstraints", "CA:TRUE,pathlen:0"}, {"keyUsage", "cRLSign"}}})
                      .refuse_unless_sound(RequestKind::authority));
  const std::vector<ExtensionTexts> others{
      {}, {{"basicConstraints", "critical,CA:FALSE"}}, {{"keyUsage", "critical,keyCertSign,cRLSign"}}};
  for (const ExtensionTexts& other : others) {
    EXPECT_THAT(refusal_of({.extensions = other}, RequestKind::authority),
                HasSubstr("does not ask to be a CA"));
  }
  EvpPkeyPtr key = software_key();
  PublicKey public_key = PublicKey::from_evp(key.get());
  CertificateRequest ours =
      CertificateRequest::create("Issuing CA", public_key, key.get(), {}, RequestKind::authority);
  EXPECT_NO_THROW(ours.refuse_unless_sound(RequestKind::authority));
  EXPECT_EQ(code_of([&] { ours.refuse_unless_sound(); }), ErrorCode::bad_request);
}

TEST(Requests, ThatHideTheirWishForTheRightsOfACaAreRefused) {
  // Twice, so that a reader who takes the first, or neither, is fooled.
  EXPECT_THAT(refusal_of({.extensions = {{"basicConstraints", "CA:FALSE"}, {"basicConstraints", "CA:TRUE"}}}),
              HasSubstr("asks for basicConstraints twice"));
  EXPECT_THAT(refusal_of({.extensions = {{"keyUsage", "digitalSignature"}, {"keyUsage", "keyCertSign"}}}),
              HasSubstr("asks for keyUsage twice"));
  EXPECT_THAT(refusal_of({.extensions = {{"basicConstraints", "DER:0500"}}}),
              HasSubstr("basicConstraints twice, or in a form that cannot be read"));
  auto in_both_places = [](X509_REQ* request) {
    add_extensions(request, {{"basicConstraints", "CA:TRUE"}}, NID_ms_ext_req);
  };
  EXPECT_THAT(refusal_of({.change = in_both_places, .extensions = {{"basicConstraints", "CA:FALSE"}}}),
              HasSubstr("asks for extensions twice"));
}

TEST(Requests, WithAnUnknownCriticalExtensionAreRefusedByItsNumber) {
  EXPECT_THAT(refusal_of({.extensions = {{"1.2.3.4", "critical,DER:0500"}}}), HasSubstr("1.2.3.4"));
  EXPECT_THAT(refusal_of({.extensions = {{"nameConstraints", "critical,permitted;DNS:a"}}}),
              HasSubstr("2.5.29.30"));
}

TEST(Requests, ThatAskForExtensionsTwiceAreRefused) {
  // OpenSSL adds no attribute twice: a second one goes in as PKCS#9's number 9 and becomes number 14.
  auto again = [](X509_REQ* request) {
    add_extensions(request, {{"keyUsage", "digitalSignature"}}, NID_pkcs9_extCertAttributes);
  };
  EXPECT_THAT(refusal_of({.change = again,
                          .extensions = {{"keyUsage", "digitalSignature"}},
                          .exchange = {"06092a864886f70d010909", "06092a864886f70d01090e"}}),
              HasSubstr("twice"));
}

void add_statement(X509_REQ* request, int type, std::string_view text,
                   const std::string& oid = kProvisioningStatementOid) {
  Asn1ObjectPtr object(OBJ_txt2obj(oid.c_str(), 1));
  EXPECT_EQ(X509_REQ_add1_attr_by_OBJ(request, object.get(), type, as_bytes(text).data(),
                                      static_cast<int>(text.size())),
            1);
}

std::string oid_hex(const std::string& oid) {
  Asn1ObjectPtr object(OBJ_txt2obj(oid.c_str(), 1));
  return to_hex(to_der(i2d_ASN1_OBJECT, static_cast<const ASN1_OBJECT*>(object.get())));
}

TEST(Requests, WithAMalformedStatementAreRefused) {
  auto with = [](int type, std::string_view text) {
    return Doctored{.change = [=](X509_REQ* request) { add_statement(request, type, text); }};
  };
  EXPECT_NO_THROW(make(with(V_ASN1_UTF8STRING, kStatement)).refuse_unless_sound());
  EXPECT_THAT(refusal_of(with(V_ASN1_UTF8STRING, "{}")), HasSubstr("statement"));
  EXPECT_THAT(refusal_of(with(V_ASN1_UTF8STRING, "")), HasSubstr("statement"));
  EXPECT_THAT(refusal_of(with(V_ASN1_OCTET_STRING, kStatement)), HasSubstr("not one UTF8String"));
  // A second one goes in under a neighbouring number, as above.
  std::string oid = kProvisioningStatementOid;
  std::string neighbour = oid;
  neighbour.back() = '0';
  auto twice = [&](X509_REQ* request) {
    add_statement(request, V_ASN1_UTF8STRING, kStatement);
    add_statement(request, V_ASN1_UTF8STRING, kStatement, neighbour);
  };
  EXPECT_THAT(refusal_of({.change = twice, .exchange = {oid_hex(neighbour), oid_hex(oid)}}),
              HasSubstr("not one UTF8String"));
}

}  // namespace
}  // namespace fleetroot
