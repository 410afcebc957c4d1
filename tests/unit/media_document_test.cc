// A signed document is read if not one bit of it has changed, and openssl reads it too.
#include <openssl/cms.h>
#include <openssl/ec.h>
#include <openssl/pem.h>

#include "lib/base/files.h"
#include "lib/media/signed_document.h"
#include "tests/expect_error.h"
#include "tests/judge.h"
#include "tests/scratch_directory.h"
#include "tests/software_pki.h"

namespace fleetroot::media {
namespace {

const std::string kContent =
    R"({"format":"fleetroot-request-bundle/1","text":"a\r\n\n)" + std::string(200, 'x') + "\"}";

Identity make_signer(KeyAlgorithm algorithm = KeyAlgorithm::p256, const std::string& name = "st-01") {
  return issue({.common_name = name, .extensions = {}, .digest = EVP_sha256()}, nullptr,
               software_key(algorithm));
}

struct SignedBy : testing::TestWithParam<KeyAlgorithm> {
  Identity signer = make_signer(GetParam());
  Bytes document = sign_document(as_bytes(kContent), signer.certificate, signer.key.get());
};

TEST_P(SignedBy, ReadsBack) {
  EXPECT_EQ(verify_document(document, {signer.certificate}), kContent);
}

TEST_P(SignedBy, OpensslReadsItToo) {
  ScratchDirectory directory;
  write_file(directory / "document", as_text(document));
  write_file(directory / "root.pem", signer.certificate.pem());
  Judgement judgement = judge({"openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in",
                               directory / "document", "-CAfile", directory / "root.pem", "-purpose", "any",
                               "-attime", std::to_string(kTestTime.time_since_epoch().count())});
  EXPECT_TRUE(judgement.accepted()) << judgement.output;
  EXPECT_EQ(judgement.output, kContent);
}

TEST_P(SignedBy, ReadsWhatOpensslSigns) {
  ScratchDirectory directory;
  write_file(directory / "content", kContent);
  write_file(directory / "signer.pem", signer.certificate.pem());
  BioPtr pem(BIO_new_file((directory / "key.pem").c_str(), "w"));
  PEM_write_bio_PrivateKey(pem.get(), signer.key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  pem.reset();
  Judgement judgement =
      judge({"openssl", "cms", "-sign", "-binary", "-nodetach", "-keyid", "-md", "sha256", "-outform", "DER",
             "-signer", directory / "signer.pem", "-inkey", directory / "key.pem", "-in",
             directory / "content", "-out", directory / "document"});
  ASSERT_TRUE(judgement.accepted()) << judgement.output;
  EXPECT_EQ(verify_document(as_bytes(read_file(directory / "document")), {signer.certificate}), kContent);
}

TEST_P(SignedBy, NoBitOfItCanChange) {
  // Every bit with P-256, 8,000 or so; with the slower keys a share of them.
  const std::size_t stride = GetParam() == KeyAlgorithm::p256 ? 1 : 11;
  for (std::size_t bit = 0; bit < document.size() * 8; bit += stride) {
    document[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    EXPECT_THROW((void)verify_document(document, {signer.certificate}), Error) << "bit " << bit;
    document[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
  }
}

TEST_P(SignedBy, NothingMayBeMissingOrFollow) {
  for (std::size_t size = 0; size < document.size(); ++size) {
    EXPECT_EQ(code_of([&] { (void)verify_document(BytesView(document).first(size), {signer.certificate}); }),
              ErrorCode::bundle_damaged)
        << size;
  }
  document.push_back(0);
  EXPECT_EQ(code_of([&] { (void)verify_document(document, {signer.certificate}); }),
            ErrorCode::bundle_damaged);
}

INSTANTIATE_TEST_SUITE_P(, SignedBy,
                         testing::Values(KeyAlgorithm::p256, KeyAlgorithm::p384, KeyAlgorithm::rsa2048),
                         [](const auto& tested) { return std::string(name_of(tested.param)); });

// ---- documents that openssl could write and we do not read ----

using CmsPtr = std::unique_ptr<CMS_ContentInfo, FreeWith<CMS_ContentInfo_free>>;

struct Wishes {
  unsigned flags = CMS_USE_KEYID;
  const EVP_MD* digest = EVP_sha256();
  int signers = 1;
  const Certificate* beside = nullptr;
  bool has_unsigned_attribute = false;
};

Bytes made_by_openssl(const Identity& signer, const Wishes& wishes) {
  BioPtr in(BIO_new_mem_buf(kContent.data(), static_cast<int>(kContent.size())));
  CmsPtr cms(CMS_sign(nullptr, nullptr, nullptr, in.get(),
                      CMS_BINARY | CMS_PARTIAL | (wishes.flags & CMS_DETACHED)));
  for (int i = 0; i < wishes.signers; ++i) {
    CMS_SignerInfo* info =
        CMS_add1_signer(cms.get(), signer.certificate.x509(), signer.key.get(), wishes.digest,
                        CMS_BINARY | wishes.flags | (i > 0 ? CMS_NOCERTS : 0));
    EXPECT_NE(info, nullptr) << take_openssl_errors();
    if (wishes.has_unsigned_attribute) {
      CMS_unsigned_add1_attr_by_NID(info, NID_pkcs9_unstructuredName, V_ASN1_UTF8STRING, "x", 1);
    }
  }
  if (wishes.beside != nullptr) CMS_add1_cert(cms.get(), wishes.beside->x509());
  EXPECT_EQ(CMS_final(cms.get(), in.get(), nullptr, CMS_BINARY), 1) << take_openssl_errors();
  return to_der(i2d_CMS_ContentInfo, static_cast<const CMS_ContentInfo*>(cms.get()));
}

struct OtherShapes : testing::Test {
  Identity signer = make_signer();
  Identity other = make_signer(KeyAlgorithm::p256, "st-02");

  ErrorCode refusal_of(const Wishes& wishes) {
    Bytes document = made_by_openssl(signer, wishes);
    return code_of([&] { (void)verify_document(document, {signer.certificate}); });
  }
};

TEST_F(OtherShapes, TheOneShapeIsReadFromOpensslToo) {
  Bytes document = made_by_openssl(signer, {});
  EXPECT_EQ(verify_document(document, {other.certificate, signer.certificate}), kContent);
}

TEST_F(OtherShapes, AreRefused) {
  EXPECT_EQ(refusal_of({.flags = 0}), ErrorCode::bundle_damaged) << "named by issuer and serial number";
  EXPECT_EQ(refusal_of({.flags = CMS_USE_KEYID | CMS_NOATTR}), ErrorCode::bundle_damaged);
  EXPECT_EQ(refusal_of({.flags = CMS_USE_KEYID | CMS_NOCERTS}), ErrorCode::bundle_damaged);
  EXPECT_EQ(refusal_of({.flags = CMS_USE_KEYID | CMS_DETACHED}), ErrorCode::bundle_damaged);
  EXPECT_EQ(refusal_of({.digest = EVP_sha1()}), ErrorCode::bundle_damaged);
  EXPECT_EQ(refusal_of({.signers = 2}), ErrorCode::bundle_damaged);
  EXPECT_EQ(refusal_of({.beside = &other.certificate}), ErrorCode::bundle_damaged);
  EXPECT_EQ(refusal_of({.has_unsigned_attribute = true}), ErrorCode::bundle_damaged);
}

TEST_F(OtherShapes, AnotherSignerIsForeign) {
  Bytes document = made_by_openssl(signer, {});
  EXPECT_EQ(code_of([&] { (void)verify_document(document, {other.certificate}); }),
            ErrorCode::bundle_foreign);
}

TEST_F(OtherShapes, ACertificateOfTheSameNameAndKeyIsNotTheSigner) {
  EVP_PKEY_up_ref(signer.key.get());
  Identity twin = issue({.common_name = "st-01", .extensions = {}}, nullptr, EvpPkeyPtr(signer.key.get()));
  Bytes document = made_by_openssl(signer, {});
  EXPECT_EQ(code_of([&] { (void)verify_document(document, {twin.certificate}); }), ErrorCode::bundle_damaged);
  // Unless both are trusted, as before and after a renewal.
  EXPECT_NO_THROW((void)verify_document(document, {twin.certificate, signer.certificate}));
}

// What anybody can make of an ECDSA signature without the key: n-s in the place of s.
Bytes mirrored(BytesView document) {
  const unsigned char* in = document.data();
  CmsPtr cms(d2i_CMS_ContentInfo(nullptr, &in, static_cast<long>(document.size())));
  ASN1_OCTET_STRING* signature =
      CMS_SignerInfo_get0_signature(sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms.get()), 0));
  in = ASN1_STRING_get0_data(signature);
  std::unique_ptr<ECDSA_SIG, FreeWith<ECDSA_SIG_free>> pair(
      d2i_ECDSA_SIG(nullptr, &in, ASN1_STRING_length(signature)));
  std::unique_ptr<EC_GROUP, FreeWith<EC_GROUP_free>> group(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  BIGNUM* s = BN_new();
  BN_sub(s, EC_GROUP_get0_order(group.get()), ECDSA_SIG_get0_s(pair.get()));
  ECDSA_SIG_set0(pair.get(), BN_dup(ECDSA_SIG_get0_r(pair.get())), s);
  Bytes der = to_der(i2d_ECDSA_SIG, static_cast<const ECDSA_SIG*>(pair.get()));
  ASN1_OCTET_STRING_set(signature, der.data(), static_cast<int>(der.size()));
  return to_der(i2d_CMS_ContentInfo, static_cast<const CMS_ContentInfo*>(cms.get()));
}

TEST_F(OtherShapes, TheMirroredSignatureIsOfTheSameContent) {
  Bytes document = sign_document(as_bytes(kContent), signer.certificate, signer.key.get());
  Bytes twin = mirrored(document);
  EXPECT_NE(twin, document);
  EXPECT_EQ(verify_document(twin, {signer.certificate}), kContent);
  EXPECT_EQ(content_of(twin), kContent);
}

TEST_F(OtherShapes, WhatItsOwnCertificateDoesNotFitHasNoContent) {
  Bytes document = made_by_openssl(signer, {});
  document.back() ^= 1;
  EXPECT_EQ(code_of([&] { (void)content_of(document); }), ErrorCode::bundle_damaged);
  EXPECT_EQ(
      code_of([&] { (void)content_of(made_by_openssl(signer, {.flags = CMS_USE_KEYID | CMS_NOCERTS})); }),
      ErrorCode::bundle_damaged);
}

TEST_F(OtherShapes, WhatIsTooLargeIsNotEvenParsed) {
  EXPECT_EQ(code_of([&] { (void)verify_document(Bytes(kMaximumDocumentSize + 1), {signer.certificate}); }),
            ErrorCode::bundle_damaged);
}

TEST_F(OtherShapes, ALargeDocumentReadsBack) {
  std::string content(20 << 20, 'x');
  Bytes document = sign_document(as_bytes(content), signer.certificate, signer.key.get());
  EXPECT_EQ(verify_document(document, {signer.certificate}), content);
}

TEST_F(OtherShapes, Ed25519SignsNone) {
  Identity edwards = make_signer(KeyAlgorithm::ed25519);
  EXPECT_EQ(code_of([&] { (void)sign_document(as_bytes(kContent), edwards.certificate, edwards.key.get()); }),
            ErrorCode::configuration);
}

}  // namespace
}  // namespace fleetroot::media
