// The five kinds of public keys, and what only looks like one.
#include "lib/x509/public_key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/pem.h>

#include "tests/expect_error.h"
#include "tests/judge.h"
#include "tests/software_pki.h"

namespace fleetroot {
namespace {

using testing::HasSubstr;

Bytes spki_of(EVP_PKEY* key) {
  return to_der(i2d_PUBKEY, static_cast<const EVP_PKEY*>(key));
}

Bytes software_signature(EVP_PKEY* key, BytesView message) {
  const EVP_MD* digest = digest_for(PublicKey::from_evp(key).algorithm());
  EvpMdCtxPtr context(EVP_MD_CTX_new());
  std::size_t size = 1024;
  Bytes signature(size);
  EXPECT_EQ(EVP_DigestSignInit(context.get(), nullptr, digest, nullptr, key), 1);
  EXPECT_EQ(EVP_DigestSign(context.get(), signature.data(), &size, message.data(), message.size()), 1);
  signature.resize(size);
  return signature;
}

class EveryKind : public testing::TestWithParam<KeyAlgorithm> {};

TEST_P(EveryKind, IsReadFromItsSubjectPublicKeyInfo) {
  EvpPkeyPtr key = software_key(GetParam());
  PublicKey read = PublicKey::from_spki(spki_of(key.get()));
  EXPECT_EQ(read.algorithm(), GetParam());
  EXPECT_EQ(read.spki(), spki_of(key.get()));
  EXPECT_EQ(spki_of(read.evp()), spki_of(key.get()));
  EXPECT_EQ(read.fingerprint(), sha256_hex(spki_of(key.get())));
  EXPECT_EQ(read, PublicKey::from_evp(key.get()));
  EXPECT_EQ(EVP_PKEY_eq(read.evp(), key.get()), 1);
}

TEST_P(EveryKind, VerifiesItsOwnSignatureAndNoOther) {
  EvpPkeyPtr key = software_key(GetParam());
  PublicKey read = PublicKey::from_evp(key.get());
  Bytes message{1, 2, 3};
  Bytes signature = software_signature(key.get(), message);
  EXPECT_TRUE(read.verifies(message, signature));
  EXPECT_FALSE(read.verifies(Bytes{1, 2, 4}, signature));
  EXPECT_FALSE(PublicKey::from_evp(software_key(GetParam()).get()).verifies(message, signature));
  EXPECT_FALSE(read.verifies(message, Bytes{}));
  signature[signature.size() / 2] ^= 1;
  EXPECT_FALSE(read.verifies(message, signature));
}

TEST_P(EveryKind, EveryByteOfItsHeadCounts) {
  EvpPkeyPtr key = software_key(GetParam());
  for (std::size_t i = 0; i < 20 && i < spki_of(key.get()).size() - 32; ++i) {
    Bytes doctored = spki_of(key.get());
    doctored[i] ^= 0x01;
    EXPECT_EQ(code_of([&] { PublicKey::from_spki(doctored); }), ErrorCode::bad_request) << i;
  }
}

TEST_P(EveryKind, BytesAfterItOrMissingFromItAreRefused) {
  Bytes spki = spki_of(software_key(GetParam()).get());
  Bytes longer = spki;
  longer.push_back(0);
  Bytes shorter = spki;
  shorter.pop_back();
  for (const Bytes& bad : {longer, shorter, Bytes{}}) {
    EXPECT_EQ(code_of([&] { PublicKey::from_spki(bad); }), ErrorCode::bad_request);
  }
}

TEST_P(EveryKind, HasANameThatConfigurationsWrite) {
  EXPECT_EQ(parse_key_algorithm(name_of(GetParam())), GetParam());
}

INSTANTIATE_TEST_SUITE_P(Keys, EveryKind, testing::ValuesIn(kKeyAlgorithms),
                         [](const auto& kind) { return std::string(name_of(kind.param)); });

TEST(KeyAlgorithms, HaveTheirUsualSpellings) {
  EXPECT_EQ(parse_key_algorithm("P-256"), KeyAlgorithm::p256);
  EXPECT_EQ(parse_key_algorithm("RSA-3072"), KeyAlgorithm::rsa3072);
  EXPECT_EQ(parse_key_algorithm("Ed25519"), KeyAlgorithm::ed25519);
  Error error = error_of([] { parse_key_algorithm("p521"); });
  EXPECT_EQ(error.code(), ErrorCode::usage);
  EXPECT_THAT(error.hint(), HasSubstr("p384"));
}

TEST(PublicKeys, ExplicitCurveParametersAreRefusedByName) {
  Judgement made =
      judge({"openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-param_enc", "explicit"});
  ASSERT_TRUE(made.accepted());
  BioPtr memory(BIO_new_mem_buf(made.output.data(), static_cast<int>(made.output.size())));
  EvpPkeyPtr key(PEM_read_bio_PrivateKey(memory.get(), nullptr, nullptr, nullptr));
  ASSERT_TRUE(key);
  Error error = error_of([&] { PublicKey::from_spki(spki_of(key.get())); });
  EXPECT_EQ(error.code(), ErrorCode::bad_request);
  EXPECT_THAT(error.message(), HasSubstr("explicit curve parameters"));
}

TEST(PublicKeys, OtherCurvesAndSizesAreRefusedByName) {
  EXPECT_THAT(error_of([] { PublicKey::from_evp(EvpPkeyPtr(EVP_EC_gen("P-521")).get()); }).message(),
              HasSubstr("521 bits"));
  EXPECT_THAT(error_of([] { PublicKey::from_evp(EvpPkeyPtr(EVP_EC_gen("secp256k1")).get()); }).message(),
              HasSubstr("256 bits"));
  EXPECT_THAT(error_of([] { PublicKey::from_evp(EvpPkeyPtr(EVP_RSA_gen(1024)).get()); }).message(),
              HasSubstr("1024 bits"));
  EXPECT_EQ(
      code_of([] { PublicKey::from_evp(EvpPkeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519")).get()); }),
      ErrorCode::bad_request);
}

TEST(PublicKeys, AnRsaExponentOtherThan65537IsRefused) {
  EvpPkeyCtxPtr context(EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr));
  BignumPtr three(BN_new());
  BN_set_word(three.get(), 3);
  EVP_PKEY* raw = nullptr;
  ASSERT_EQ(EVP_PKEY_keygen_init(context.get()), 1);
  ASSERT_GT(EVP_PKEY_CTX_set_rsa_keygen_bits(context.get(), 2048), 0);
  ASSERT_EQ(EVP_PKEY_CTX_set1_rsa_keygen_pubexp(context.get(), three.get()), 1);
  ASSERT_EQ(EVP_PKEY_generate(context.get(), &raw), 1);
  EvpPkeyPtr key(raw);
  EXPECT_EQ(code_of([&] { PublicKey::from_spki(spki_of(key.get())); }), ErrorCode::bad_request);
  EXPECT_EQ(code_of([&] { PublicKey::from_rsa(Bytes(256, 0xff), Bytes{3}); }), ErrorCode::bad_request);
}

TEST(PublicKeys, AnRsaModulusThatIsNoneIsRefused) {
  const Bytes f4{1, 0, 1};
  Bytes even(256, 0xff);
  even.back() = 0xfe;
  EXPECT_EQ(code_of([&] { PublicKey::from_rsa(even, f4); }), ErrorCode::bad_request);
  Bytes small(256, 0xff);
  small.front() = 0x7f;
  EXPECT_EQ(code_of([&] { PublicKey::from_rsa(small, f4); }), ErrorCode::bad_request) << "2047 bits";
  EXPECT_EQ(code_of([&] { PublicKey::from_rsa(Bytes{}, f4); }), ErrorCode::bad_request);
}

TEST(PublicKeys, AnRsaModulusMayHaveASignOctet) {
  EvpPkeyPtr key = software_key(KeyAlgorithm::rsa2048);
  BIGNUM* raw = nullptr;
  EVP_PKEY_get_bn_param(key.get(), OSSL_PKEY_PARAM_RSA_N, &raw);
  BignumPtr modulus(raw);
  Bytes octets(257);
  BN_bn2binpad(modulus.get(), octets.data(), 257);
  EXPECT_EQ(PublicKey::from_rsa(octets, Bytes{0, 1, 0, 1}), PublicKey::from_evp(key.get()));
}

TEST(PublicKeys, APointOffItsCurveIsRefused) {
  for (KeyAlgorithm algorithm : {KeyAlgorithm::p256, KeyAlgorithm::p384}) {
    Bytes spki = PublicKey::from_evp(software_key(algorithm).get()).spki();
    spki.back() ^= 1;
    EXPECT_EQ(code_of([&] { PublicKey::from_spki(spki); }), ErrorCode::bad_request);
    std::size_t size = algorithm == KeyAlgorithm::p256 ? 65 : 97;
    Bytes zero(size);
    zero.front() = 0x04;
    EXPECT_EQ(code_of([&] { PublicKey::from_ec_point(algorithm, zero); }), ErrorCode::bad_request);
    EXPECT_EQ(code_of([&] { PublicKey::from_ec_point(algorithm, Bytes{0}); }), ErrorCode::bad_request)
        << "the point at infinity";
  }
}

TEST(PublicKeys, ACompressedPointIsRefused) {
  Bytes spki = PublicKey::from_evp(software_key().get()).spki();
  Bytes compressed(spki.end() - 65, spki.end() - 32);
  compressed.front() = 0x02;
  EXPECT_EQ(code_of([&] { PublicKey::from_ec_point(KeyAlgorithm::p256, compressed); }),
            ErrorCode::bad_request);
  Bytes hybrid(spki.end() - 65, spki.end());
  hybrid.front() = static_cast<std::uint8_t>(0x06 | (hybrid.back() & 1));
  EXPECT_EQ(code_of([&] { PublicKey::from_ec_point(KeyAlgorithm::p256, hybrid); }), ErrorCode::bad_request);
}

// RFC 6979 appendix A.2.5, SHA-256, "sample"
TEST(PublicKeys, VerifyTheVectorOfRfc6979) {
  Bytes point = *from_hex(
      "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
      "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299");
  Bytes signature = *from_hex(
      "3046022100efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
      "022100f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8");
  EXPECT_TRUE(PublicKey::from_ec_point(KeyAlgorithm::p256, point).verifies(as_bytes("sample"), signature));
}

// RFC 8032 section 7.1, test 1
TEST(PublicKeys, VerifyTheVectorOfRfc8032) {
  Bytes key = *from_hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  Bytes signature = *from_hex(
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
      "d25bf5f0595bbe24655141438e7a100b");
  EXPECT_TRUE(PublicKey::from_ed25519(key).verifies({}, signature));
}

}  // namespace
}  // namespace fleetroot
