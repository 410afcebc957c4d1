// Signatures by a token: the mechanisms, and the encodings in which tokens and the rest of the world differ.
#include <fmt/format.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>

#include "pkcs11/cryptoki.h"
#include "pkcs11/key_pair.h"

namespace fleetroot::pkcs11 {
namespace {

using EcdsaSigPtr = std::unique_ptr<ECDSA_SIG, FreeWith<ECDSA_SIG_free>>;
using SignaturePtr = std::unique_ptr<X509_SIG, FreeWith<X509_SIG_free>>;

constexpr std::size_t kMaximumSignatureSize = 1024;

Bytes sign_raw(const Session& session, const KeyPair& pair, CK_MECHANISM mechanism, const Bytes& data) {
  const CK_FUNCTION_LIST& functions = session.module().functions();
  check(functions.C_SignInit(session.handle(), &mechanism, pair.private_key), "begin a signature");
  Bytes signature(kMaximumSignatureSize);
  CK_ULONG size = signature.size();
  check(functions.C_Sign(session.handle(), const_cast<CK_BYTE*>(data.data()), data.size(), signature.data(),
                         &size),
        "sign");
  signature.resize(std::min<std::size_t>(size, signature.size()));
  return signature;
}

// Tokens give r‖s (PKCS#11 2.40 section 2.3.1 of the mechanisms), X.509 wants a SEQUENCE of both (RFC 3279
// section 2.2.3).
Bytes to_der_signature(const Bytes& raw) {
  if (raw.empty() || raw.size() % 2 != 0) {
    throw Error(ErrorCode::token_untrusted,
                fmt::format("the token gave an ECDSA signature of {} bytes", raw.size()),
                "replace the token");
  }
  int half = static_cast<int>(raw.size() / 2);
  EcdsaSigPtr signature(ECDSA_SIG_new());
  ECDSA_SIG_set0(signature.get(), BN_bin2bn(raw.data(), half, nullptr),
                 BN_bin2bn(raw.data() + half, half, nullptr));
  return to_der(i2d_ECDSA_SIG, static_cast<const ECDSA_SIG*>(signature.get()));
}

// RFC 8017 section 9.2: what CKM_RSA_PKCS pads and signs.
Bytes digest_info(int digest_nid, const Bytes& digest) {
  SignaturePtr info(X509_SIG_new());
  X509_ALGOR* algorithm = nullptr;
  ASN1_OCTET_STRING* value = nullptr;
  X509_SIG_getm(info.get(), &algorithm, &value);
  X509_ALGOR_set0(algorithm, OBJ_nid2obj(digest_nid), V_ASN1_NULL, nullptr);
  ASN1_OCTET_STRING_set(value, digest.data(), static_cast<int>(digest.size()));
  return to_der(i2d_X509_SIG, static_cast<const X509_SIG*>(info.get()));
}

CK_RSA_PKCS_PSS_PARAMS pss_parameters(int digest_nid) {
  constexpr CK_RSA_PKCS_MGF_TYPE kMgf1Sha256 = 2;
  constexpr CK_RSA_PKCS_MGF_TYPE kMgf1Sha384 = 3;
  constexpr CK_RSA_PKCS_MGF_TYPE kMgf1Sha512 = 4;
  switch (digest_nid) {
    case NID_sha256:
      return {CKM_SHA256, kMgf1Sha256, 32};
    case NID_sha384:
      return {CKM_SHA384, kMgf1Sha384, 48};
    case NID_sha512:
      return {CKM_SHA512, kMgf1Sha512, 64};
    default:
      throw Error(ErrorCode::internal, "a PSS signature was asked for with an unknown digest", "report this");
  }
}

class TokenSigner : public Signer {
 public:
  TokenSigner(const Session& session, KeyPair pair) : session_(session), pair_(std::move(pair)) {}
  Bytes sign(const SignatureInput& input) override { return pkcs11::sign(session_, pair_, input); }

 private:
  const Session& session_;
  KeyPair pair_;
};

}  // namespace

Bytes sign(const Session& session, const KeyPair& pair, const SignatureInput& input) {
  switch (input.scheme) {
    case SignatureScheme::ecdsa:
      return to_der_signature(sign_raw(session, pair, {CKM_ECDSA, nullptr, 0}, input.data));
    case SignatureScheme::rsa_pkcs1:
      return sign_raw(session, pair, {CKM_RSA_PKCS, nullptr, 0}, digest_info(input.digest_nid, input.data));
    case SignatureScheme::rsa_pss: {
      CK_RSA_PKCS_PSS_PARAMS parameters = pss_parameters(input.digest_nid);
      return sign_raw(session, pair, {CKM_RSA_PKCS_PSS, &parameters, sizeof parameters}, input.data);
    }
    case SignatureScheme::ed25519:
      return sign_raw(session, pair, {CKM_EDDSA, nullptr, 0}, input.data);
  }
  throw Error(ErrorCode::internal, "an unknown signature scheme was asked for", "report this");
}

Bytes sign_message(const Session& session, const KeyPair& pair, BytesView message) {
  const EVP_MD* digest = digest_for(pair.public_key.algorithm());
  if (digest == nullptr) {
    return sign(session, pair, {SignatureScheme::ed25519, NID_undef, {message.begin(), message.end()}});
  }
  bool is_ec = EVP_PKEY_get_base_id(pair.public_key.evp()) == EVP_PKEY_EC;
  Bytes value(static_cast<std::size_t>(EVP_MD_get_size(digest)));
  EVP_Digest(message.data(), message.size(), value.data(), nullptr, digest, nullptr);
  return sign(session, pair,
              {is_ec ? SignatureScheme::ecdsa : SignatureScheme::rsa_pkcs1, EVP_MD_get_type(digest),
               std::move(value)});
}

EvpPkeyPtr make_signing_evp(const Session& session, const KeyPair& pair) {
  return make_signing_evp(pair.public_key, std::make_shared<TokenSigner>(session, pair));
}

}  // namespace fleetroot::pkcs11
