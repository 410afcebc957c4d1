#include "lib/media/signed_document.h"

#include <openssl/cms.h>
#include <openssl/err.h>

#include <algorithm>
#include <array>

#include "lib/x509/der.h"
#include "lib/x509/openssl_context.h"
#include "lib/x509/signature.h"

namespace fleetroot::media {
namespace {

using CmsPtr = std::unique_ptr<CMS_ContentInfo, FreeWith<CMS_ContentInfo_free>>;
using AlgorithmPtr = std::unique_ptr<X509_ALGOR, FreeWith<X509_ALGOR_free>>;

constexpr unsigned kBinary = CMS_BINARY | CMS_NOSMIMECAP;

Error damaged(std::string why) {
  return openssl_error(ErrorCode::bundle_damaged, std::move(why),
                       "have it written again and carry it anew; nothing was taken from it");
}

// ---- what a document must look like, byte for byte ----

constexpr std::uint8_t kImplicitKeyId = 0x80;  // [0] of a SignerIdentifier

Bytes object_identifier(int nid) {
  return to_der(i2d_ASN1_OBJECT, static_cast<const ASN1_OBJECT*>(OBJ_nid2obj(nid)));
}

Bytes algorithm_identifier(int nid, int parameters) {
  AlgorithmPtr algorithm(X509_ALGOR_new());
  X509_ALGOR_set0(algorithm.get(), OBJ_nid2obj(nid), parameters, nullptr);
  return to_der(i2d_X509_ALGOR, static_cast<const X509_ALGOR*>(algorithm.get()));
}

// What goes with a signature of this key over this digest (RFC 5753 section 2.1.1, RFC 5754 section 3.2).
Bytes signature_algorithm(const PublicKey& key, int digest) {
  bool is_rsa = key.algorithm() == KeyAlgorithm::rsa2048 || key.algorithm() == KeyAlgorithm::rsa3072;
  if (is_rsa) return algorithm_identifier(NID_rsaEncryption, V_ASN1_NULL);
  int with_digest = NID_undef;
  OBJ_find_sigid_by_algs(&with_digest, digest, NID_X9_62_id_ecPublicKey);
  return algorithm_identifier(with_digest, V_ASN1_UNDEF);
}

BytesView view(const ASN1_STRING* string) {
  return {ASN1_STRING_get0_data(string), static_cast<std::size_t>(ASN1_STRING_length(string))};
}

// The attributes that the signer signed, as it encoded them.
Bytes signed_attributes(const CMS_SignerInfo* signer) {
  Bytes attributes;
  for (int i = 0; i < CMS_signed_get_attr_count(signer); ++i) {
    Bytes attribute =
        to_der(i2d_X509_ATTRIBUTE, static_cast<const X509_ATTRIBUTE*>(CMS_signed_get_attr(signer, i)));
    attributes.insert(attributes.end(), attribute.begin(), attribute.end());
  }
  return attributes;
}

int digest_of(CMS_SignerInfo* signer) {
  X509_ALGOR* digest = nullptr;
  CMS_SignerInfo_get0_algs(signer, nullptr, nullptr, &digest, nullptr);
  const ASN1_OBJECT* name = nullptr;
  X509_ALGOR_get0(&name, nullptr, nullptr, digest);
  return OBJ_obj2nid(name);
}

// The one document that says what this one says (RFC 5652 sections 3 and 5.1 to 5.3).
Bytes written_anew(BytesView content, CMS_SignerInfo* signer, const Certificate& certificate,
                   BytesView key_id) {
  static constexpr std::array<std::uint8_t, 3> kVersion3{0x02, 0x01, 0x03};
  int digest = digest_of(signer);
  Bytes digest_algorithm = algorithm_identifier(digest, V_ASN1_UNDEF);
  Bytes signer_info = der::sequence({kVersion3, der::tagged(kImplicitKeyId, key_id), digest_algorithm,
                                     der::explicit_tag(0, signed_attributes(signer)),
                                     signature_algorithm(certificate.public_key(), digest),
                                     der::octet_string(view(CMS_SignerInfo_get0_signature(signer)))});
  Bytes encapsulated =
      der::sequence({object_identifier(NID_pkcs7_data), der::explicit_tag(0, der::octet_string(content))});
  Bytes signed_data = der::sequence({kVersion3, der::set(digest_algorithm), encapsulated,
                                     der::explicit_tag(0, certificate.der()), der::set(signer_info)});
  return der::sequence({object_identifier(NID_pkcs7_signed), der::explicit_tag(0, signed_data)});
}

// ---- reading ----

CmsPtr parse(BytesView document, std::size_t maximum) {
  if (document.empty()) throw damaged("it is empty");
  if (document.size() > maximum) {
    throw damaged("it is larger than " + std::to_string(maximum >> 20) + " MiB");
  }
  const unsigned char* in = document.data();
  CmsPtr cms(d2i_CMS_ContentInfo(nullptr, &in, static_cast<long>(document.size())));
  if (!cms) throw damaged("it is no signed document (CMS in DER), or the end of it is missing");
  ASN1_OCTET_STRING** content = CMS_get0_content(cms.get());
  if (OBJ_obj2nid(CMS_get0_type(cms.get())) != NID_pkcs7_signed || content == nullptr ||
      *content == nullptr) {
    throw damaged("it is no signed document with its content in it");
  }
  return cms;
}

CMS_SignerInfo* the_signer(CMS_ContentInfo* cms) {
  STACK_OF(CMS_SignerInfo)* signers = CMS_get0_SignerInfos(cms);
  if (sk_CMS_SignerInfo_num(signers) != 1) throw damaged("it has not exactly one signature");
  return sk_CMS_SignerInfo_value(signers, 0);
}

Bytes key_id_of(CMS_SignerInfo* signer) {
  ASN1_OCTET_STRING* key_id = nullptr;
  if (CMS_SignerInfo_get0_signer_id(signer, &key_id, nullptr, nullptr) != 1 || key_id == nullptr) {
    throw damaged("its signer is not named by a subject key identifier (openssl cms -sign -keyid)");
  }
  BytesView bytes = view(key_id);
  return {bytes.begin(), bytes.end()};
}

bool has_sound_digest(CMS_SignerInfo* signer) {
  static constexpr std::array kDigests{NID_sha256, NID_sha384, NID_sha512};
  return std::find(kDigests.begin(), kDigests.end(), digest_of(signer)) != kDigests.end();
}

// Of those that are trusted the one that the document brings along; or else any, which will not fit.
Certificate brought_along(CMS_ContentInfo* cms, const std::vector<Certificate>& trusted) {
  X509StackPtr brought(CMS_get1_certs(cms));
  for (const Certificate& certificate : trusted) {
    if (sk_X509_num(brought.get()) == 1 &&
        X509_cmp(sk_X509_value(brought.get(), 0), certificate.x509()) == 0) {
      return certificate;
    }
  }
  return trusted.front();
}

bool is_signed_by(CMS_ContentInfo* cms, const Certificate& certificate) {
  X509StackPtr signers = to_stack({certificate});
  // The caller trusts the certificate: OpenSSL shall take it from him alone, and judge the signature alone.
  constexpr unsigned kSignatureAlone = CMS_NO_SIGNER_CERT_VERIFY | CMS_NOINTERN | CMS_BINARY;
  return CMS_verify(cms, signers.get(), nullptr, nullptr, nullptr, kSignatureAlone) == 1;
}

}  // namespace

Bytes sign_document(BytesView content, const Certificate& signer, EVP_PKEY* key) {
  const EVP_MD* digest = digest_for(signer.public_key().algorithm());
  if (digest == nullptr || signer.subject_key_identifier().empty()) {
    throw Error(ErrorCode::configuration,
                "the certificate of " + signer.subject() + " cannot sign what goes onto media",
                "sign with a P-256, P-384 or RSA key whose certificate has a subject key identifier");
  }
  BioPtr in(BIO_new_mem_buf(content.data(), static_cast<int>(content.size())));
  CmsPtr cms(
      CMS_sign_ex(nullptr, nullptr, nullptr, in.get(), kBinary | CMS_PARTIAL, openssl_context(), nullptr));
  let_openssl_sign(
      [&] {
        return cms &&
               CMS_add1_signer(cms.get(), signer.x509(), key, digest, kBinary | CMS_USE_KEYID) != nullptr &&
               CMS_final(cms.get(), in.get(), nullptr, kBinary) == 1;
      },
      {ErrorCode::internal, "the key of " + signer.subject() + " does not sign",
       "check that its token is there and that the certificate is for its key"});
  return to_der(i2d_CMS_ContentInfo, static_cast<const CMS_ContentInfo*>(cms.get()));
}

std::string verify_document(BytesView document, const FindSigner& find_signer, std::size_t maximum) {
  ERR_clear_error();
  CmsPtr cms = parse(document, maximum);
  CMS_SignerInfo* signer = the_signer(cms.get());
  Bytes key_id = key_id_of(signer);
  if (!has_sound_digest(signer)) throw damaged("it is not signed over SHA-256, SHA-384 or SHA-512");
  Certificate certificate = brought_along(cms.get(), find_signer(key_id));
  if (CMS_signed_get_attr_count(signer) <= 0 || !is_signed_by(cms.get(), certificate)) {
    throw damaged("the signature of " + certificate.subject() +
                  " does not verify: something changed it on its way");
  }
  BytesView content = view(*CMS_get0_content(cms.get()));
  if (!equal(document, written_anew(content, signer, certificate, key_id))) {
    throw damaged("bytes that its signature does not cover are not as " + certificate.subject() +
                  " writes them");
  }
  return std::string(as_text(content));
}

std::string verify_document(BytesView document, const std::vector<Certificate>& pinned) {
  return verify_document(document, [&](BytesView key_id) {
    std::string hex = to_hex(key_id);
    std::vector<Certificate> found;
    for (const Certificate& certificate : pinned) {
      if (certificate.subject_key_identifier() == hex) found.push_back(certificate);
    }
    if (!found.empty()) return found;
    throw Error(ErrorCode::bundle_foreign, "somebody signed it whom we do not expect here",
                "check that it comes from where it should, and that nobody mixed up the media");
  });
}

std::string content_of(BytesView document) {
  X509StackPtr brought(CMS_get1_certs(parse(document, kMaximumDocumentSize).get()));
  if (sk_X509_num(brought.get()) != 1) throw damaged("it has not exactly one certificate in it");
  Certificate signer =
      Certificate::from_der(to_der(i2d_X509, static_cast<const X509*>(sk_X509_value(brought.get(), 0))));
  return verify_document(document, [&](BytesView) { return std::vector{signer}; });
}

}  // namespace fleetroot::media
