// Keys in a token behind OpenSSL: requests, certificates, CMS and TLS with keys that nobody can read.
#include "pkcs11/provider.h"

#include <gmock/gmock.h>
#include <openssl/cms.h>
#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "lib/x509/chain.h"
#include "lib/x509/openssl_context.h"
#include "tests/expect_error.h"
#include "tests/judge.h"
#include "tests/software_pki.h"
#include "tests/token/token_directory.h"

namespace fleetroot::pkcs11 {
namespace {

using testing::HasSubstr;

const KeyName kName{KeyId::parse("01"), "identity"};

using CmsPtr = std::unique_ptr<CMS_ContentInfo, FreeWith<CMS_ContentInfo_free>>;
using SslContextPtr = std::unique_ptr<SSL_CTX, FreeWith<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, FreeWith<SSL_free>>;

EvpPkeyPtr shared(EVP_PKEY* key) {
  EVP_PKEY_up_ref(key);
  return EvpPkeyPtr(key);
}

class EveryKind : public TokenTest, public testing::WithParamInterface<KeyAlgorithm> {
 protected:
  SigningKey key_ = SigningKey::generate(settings_, GetParam(), kName);
  Identity root_ = issue({.common_name = "Root", .extensions = kCaExtensions});
  Identity device_ =
      issue({.common_name = "dev-1", .extensions = kClientExtensions}, &root_, shared(key_.evp()));

  bool is_rsa() const { return GetParam() == KeyAlgorithm::rsa2048; }
};

TEST_P(EveryKind, SignsCertificatesThatOpensslVerifies) {
  // The token's key is the CA's here.
  Identity ca =
      issue({.common_name = "Token CA", .extensions = kCaExtensions, .digest = digest_for(GetParam())},
            nullptr, shared(key_.evp()));
  Identity leaf =
      issue({.common_name = "leaf", .extensions = kClientExtensions, .digest = digest_for(GetParam())}, &ca);
  EXPECT_EQ(verify_chain(leaf.certificate, {.roots = {ca.certificate},
                                            .intermediates = {},
                                            .purpose = ChainPurpose::tls_client,
                                            .time = kTestTime})
                .size(),
            2U);
  write_file(directory_ / "ca.pem", ca.certificate.pem());
  write_file(directory_ / "leaf.pem", leaf.certificate.pem());
  EXPECT_TRUE(judge({"openssl", "verify", "-attime", std::to_string(kTestTime.time_since_epoch().count()),
                     "-x509_strict", "-CAfile", directory_ / "ca.pem", directory_ / "leaf.pem"})
                  .accepted());
}

TEST_P(EveryKind, SignsRequestsThatAStrangerVerifies) {
  write_file(directory_ / "r.pem", CertificateRequest::create("dev-1", key_.public_key(), key_.evp()).pem());
  Judgement judgement = judge({"certtool", "--crq-info", "--infile", directory_ / "r.pem"});
  EXPECT_TRUE(judgement.says("Self signature: verified")) << judgement.output;
}

// Nothing if OpenSSL makes no CMS with this kind of key.
std::optional<Bytes> cms_over(std::string_view content, const Identity& signer, KeyAlgorithm algorithm) {
  BioPtr in(BIO_new_mem_buf(content.data(), static_cast<int>(content.size())));
  CmsPtr cms(
      CMS_sign_ex(nullptr, nullptr, nullptr, in.get(), CMS_BINARY | CMS_PARTIAL, openssl_context(), nullptr));
  // RFC 8419 section 3.1: Ed25519 goes with SHA-512.
  const EVP_MD* digest = algorithm == KeyAlgorithm::ed25519 ? EVP_sha512() : digest_for(algorithm);
  if (CMS_add1_signer(cms.get(), signer.certificate.x509(), signer.key.get(), digest, CMS_BINARY) ==
          nullptr ||
      CMS_final(cms.get(), in.get(), nullptr, CMS_BINARY) != 1) {
    return std::nullopt;
  }
  return to_der(i2d_CMS_ContentInfo, static_cast<const CMS_ContentInfo*>(cms.get()));
}

TEST_P(EveryKind, SignsCmsThatOpensslVerifies) {
  const std::string content = "{\"format\":\"fleetroot-request-bundle/1\"}";
  std::optional<Bytes> cms = cms_over(content, device_, GetParam());
  if (!cms) {
    // OpenSSL 3.0 makes no CMS with Ed25519, whoever holds the key: a software key fares no better.
    ASSERT_EQ(GetParam(), KeyAlgorithm::ed25519) << take_openssl_errors();
    Identity twin =
        issue({.common_name = "twin", .extensions = kClientExtensions}, &root_, software_key(GetParam()));
    EXPECT_FALSE(cms_over(content, twin, GetParam()));
    take_openssl_errors();
    return;
  }
  write_file(directory_ / "cms.der", as_text(*cms));
  write_file(directory_ / "root.pem", root_.certificate.pem());
  Judgement judgement = judge({"openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in",
                               directory_ / "cms.der", "-CAfile", directory_ / "root.pem", "-purpose", "any",
                               "-attime", std::to_string(kTestTime.time_since_epoch().count())});
  EXPECT_TRUE(judgement.accepted());
  EXPECT_EQ(judgement.output, content);
}

// ---- TLS ----

SslContextPtr server_context(const Identity& server, const Identity& root) {
  SslContextPtr context(SSL_CTX_new_ex(openssl_context(), nullptr, TLS_server_method()));
  SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET);  // as ours: our context has no cipher for them
  SSL_CTX_use_certificate(context.get(), server.certificate.x509());
  SSL_CTX_use_PrivateKey(context.get(), server.key.get());
  X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), root.certificate.x509());
  X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(context.get()), kTestTime.time_since_epoch().count());
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return context;
}

// Both ends in one thread, over a pair of memory BIOs.
bool shake_hands(SSL* client, SSL* server) {
  BIO* client_end = nullptr;
  BIO* server_end = nullptr;
  BIO_new_bio_pair(&client_end, 0, &server_end, 0);
  SSL_set_bio(client, client_end, client_end);
  SSL_set_bio(server, server_end, server_end);
  SSL_set_connect_state(client);
  SSL_set_accept_state(server);
  for (int i = 0; i < 100 && !(SSL_is_init_finished(client) && SSL_is_init_finished(server)); ++i) {
    for (SSL* end : {client, server}) {
      int result = SSL_do_handshake(end);
      int error = SSL_get_error(end, result);
      if (result != 1 && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return false;
    }
  }
  return SSL_is_init_finished(client) != 0 && SSL_is_init_finished(server) != 0;
}

TEST_P(EveryKind, AuthenticatesATlsClient) {
  Identity server = issue({.common_name = "gw", .extensions = kServerExtensions}, &root_);
  for (int version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
    SslContextPtr server_side = server_context(server, root_);
    SslContextPtr client_side(SSL_CTX_new_ex(openssl_context(), nullptr, TLS_client_method()));
    SSL_CTX_set_min_proto_version(client_side.get(), version);
    SSL_CTX_set_max_proto_version(client_side.get(), version);
    ASSERT_EQ(SSL_CTX_use_certificate(client_side.get(), device_.certificate.x509()), 1);
    ASSERT_EQ(SSL_CTX_use_PrivateKey(client_side.get(), key_.evp()), 1) << take_openssl_errors();
    ASSERT_EQ(SSL_CTX_check_private_key(client_side.get()), 1) << take_openssl_errors();
    SslPtr client(SSL_new(client_side.get()));
    SslPtr gateway(SSL_new(server_side.get()));
    ASSERT_TRUE(shake_hands(client.get(), gateway.get())) << take_openssl_errors();
    EXPECT_EQ(SSL_get_verify_result(gateway.get()), X509_V_OK);
    X509Ptr peer(SSL_get1_peer_certificate(gateway.get()));
    EXPECT_EQ(Certificate(std::move(peer)), device_.certificate);
  }
}

TEST_P(EveryKind, ShowsItsPublicHalfAndNothingElse) {
  EVP_PKEY* key = key_.evp();
  EXPECT_EQ(EVP_PKEY_eq(key, key_.public_key().evp()), 1);
  EXPECT_EQ(to_der(i2d_PUBKEY, static_cast<const EVP_PKEY*>(key)), key_.public_key().spki());
  BioPtr memory(BIO_new(BIO_s_mem()));
  EXPECT_NE(PEM_write_bio_PrivateKey(memory.get(), key, nullptr, nullptr, 0, nullptr, nullptr), 1);
  EXPECT_EQ(BIO_pending(memory.get()), 0);
  EXPECT_LE(i2d_PrivateKey(key, nullptr), 0);
  OSSL_PARAM* params = nullptr;
  EXPECT_NE(EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &params), 1);
  for (const char* secret : {OSSL_PKEY_PARAM_PRIV_KEY, OSSL_PKEY_PARAM_RSA_D, OSSL_PKEY_PARAM_RSA_FACTOR1}) {
    BIGNUM* number = nullptr;
    EXPECT_NE(EVP_PKEY_get_bn_param(key, secret, &number), 1) << secret;
  }
  unsigned char raw[64];
  std::size_t size = sizeof raw;
  EXPECT_NE(EVP_PKEY_get_raw_private_key(key, raw, &size), 1);
  take_openssl_errors();
}

TEST_P(EveryKind, SignsInPiecesOnlyWhatIsHashed) {
  EvpMdCtxPtr context(EVP_MD_CTX_new());
  ASSERT_EQ(EVP_DigestSignInit(context.get(), nullptr, digest_for(GetParam()), nullptr, key_.evp()), 1);
  Bytes signature(1024);
  std::size_t size = signature.size();
  bool signs = EVP_DigestSignUpdate(context.get(), "a ", 2) == 1 &&
               EVP_DigestSignUpdate(context.get(), "message", 7) == 1;
  // Ed25519 takes the whole message at once; a finish without one must fail, and not crash.
  signs = EVP_DigestSignFinal(context.get(), signature.data(), &size) == 1 && signs;
  EXPECT_EQ(signs, GetParam() != KeyAlgorithm::ed25519);
  if (signs) {
    signature.resize(size);
    EXPECT_TRUE(key_.public_key().verifies(as_bytes("a message"), signature));
  }
  take_openssl_errors();
}

TEST_P(EveryKind, RefusesTheDigestsThatWeDo) {
  EvpMdCtxPtr context(EVP_MD_CTX_new());
  EXPECT_NE(EVP_DigestSignInit(context.get(), nullptr, EVP_sha1(), nullptr, key_.evp()), 1);
  take_openssl_errors();
}

TEST_P(EveryKind, SignsPssWithASaltAsLongAsTheDigest) {
  EvpMdCtxPtr context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* key_context = nullptr;
  ASSERT_EQ(EVP_DigestSignInit(context.get(), &key_context, digest_for(GetParam()), nullptr, key_.evp()), 1);
  if (!is_rsa()) {
    EXPECT_LE(EVP_PKEY_CTX_set_rsa_padding(key_context, RSA_PKCS1_PSS_PADDING), 0);
    take_openssl_errors();
    return;
  }
  ASSERT_GT(EVP_PKEY_CTX_set_rsa_padding(key_context, RSA_PKCS1_PSS_PADDING), 0);
  EXPECT_LE(EVP_PKEY_CTX_set_rsa_pss_saltlen(key_context, 7), 0);
  ASSERT_GT(EVP_PKEY_CTX_set_rsa_pss_saltlen(key_context, RSA_PSS_SALTLEN_DIGEST), 0);
  Bytes signature(1024);
  std::size_t size = signature.size();
  ASSERT_EQ(EVP_DigestSign(context.get(), signature.data(), &size, as_bytes("m").data(), 1), 1)
      << take_openssl_errors();
  EvpMdCtxPtr verifier(EVP_MD_CTX_new());
  ASSERT_EQ(
      EVP_DigestVerifyInit(verifier.get(), &key_context, EVP_sha256(), nullptr, key_.public_key().evp()), 1);
  ASSERT_GT(EVP_PKEY_CTX_set_rsa_padding(key_context, RSA_PKCS1_PSS_PADDING), 0);
  ASSERT_GT(EVP_PKEY_CTX_set_rsa_pss_saltlen(key_context, RSA_PSS_SALTLEN_DIGEST), 0);
  EXPECT_EQ(EVP_DigestVerify(verifier.get(), signature.data(), size, as_bytes("m").data(), 1), 1);
  take_openssl_errors();
}

// RSA-3072 takes the same way as RSA-2048, and a second for each key; signing_key_test has it.
INSTANTIATE_TEST_SUITE_P(SoftHsm, EveryKind,
                         testing::Values(KeyAlgorithm::p256, KeyAlgorithm::p384, KeyAlgorithm::rsa2048,
                                         KeyAlgorithm::ed25519),
                         [](const auto& kind) { return std::string(name_of(kind.param)); });

class BrokenSigner : public Signer {
 public:
  Bytes sign(const SignatureInput&) override {
    throw Error(ErrorCode::token_unplugged, "the token is gone", "plug it in");
  }
};

TEST(SigningEvp, WhatATokenSaysAsItFailsGoesThroughOpenssl) {
  PublicKey public_key = PublicKey::from_evp(software_key().get());
  EvpPkeyPtr key = make_signing_evp(public_key, std::make_shared<BrokenSigner>());
  Error error = error_of([&] { CertificateRequest::create("dev-1", public_key, key.get()); });
  EXPECT_EQ(error.code(), ErrorCode::token_unplugged);
  EXPECT_EQ(error.message(), "the token is gone");
  EXPECT_EQ(error.hint(), "plug it in");
}

class LyingSigner : public Signer {
 public:
  Bytes sign(const SignatureInput&) override { return Bytes(10'000, 0x30); }
};

TEST(SigningEvp, ASignatureThatIsTooLongIsRefused) {
  PublicKey public_key = PublicKey::from_evp(software_key().get());
  EvpPkeyPtr key = make_signing_evp(public_key, std::make_shared<LyingSigner>());
  EXPECT_EQ(code_of([&] { CertificateRequest::create("dev-1", public_key, key.get()); }),
            ErrorCode::token_untrusted);
}

TEST(SigningEvp, SoftwareKeysWorkBesideIt) {
  PublicKey public_key = PublicKey::from_evp(software_key().get());
  EvpPkeyPtr in_token = make_signing_evp(public_key, std::make_shared<BrokenSigner>());
  for (KeyAlgorithm algorithm : {KeyAlgorithm::p256, KeyAlgorithm::rsa2048, KeyAlgorithm::ed25519}) {
    EvpPkeyPtr key = software_key(algorithm);
    EXPECT_NO_THROW(CertificateRequest::create("dev-1", PublicKey::from_evp(key.get()), key.get()));
    BioPtr memory(BIO_new(BIO_s_mem()));
    EXPECT_EQ(PEM_write_bio_PrivateKey(memory.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr), 1);
    EvpPkeyPtr again(PEM_read_bio_PrivateKey(memory.get(), nullptr, nullptr, nullptr));
    EXPECT_EQ(EVP_PKEY_eq(again.get(), key.get()), 1);
  }
}

}  // namespace
}  // namespace fleetroot::pkcs11
