#include "factory-ca/issuing_key.h"

namespace fleetroot::ca {
namespace {

Bytes raw_signature(EVP_PKEY* key, KeyAlgorithm algorithm, BytesView message) {
  EvpMdCtxPtr context(EVP_MD_CTX_new());
  std::size_t size = 0;
  Bytes signature;
  bool ready = EVP_DigestSignInit(context.get(), nullptr, digest_for(algorithm), nullptr, key) == 1 &&
               EVP_DigestSign(context.get(), nullptr, &size, message.data(), message.size()) == 1;
  signature.resize(size);
  if (!ready || EVP_DigestSign(context.get(), signature.data(), &size, message.data(), message.size()) != 1) {
    throw openssl_error(ErrorCode::token_untrusted, "the CA's token did not sign",
                        "check the token, then run the same command again");
  }
  signature.resize(size);
  return signature;
}

}  // namespace

Certificate sign(LintedCertificate&& linted, EVP_PKEY* key, const PublicKey& public_key) {
  LintedCertificate redeemed = std::move(linted);
  Bytes signature = raw_signature(key, redeemed.signature_algorithm(), redeemed.tbs());
  if (redeemed.signature_algorithm() != public_key.algorithm() ||
      !public_key.verifies(redeemed.tbs(), signature)) {
    throw Error(ErrorCode::token_untrusted, "the signature of the CA's token does not verify",
                "stop, and check that the token holds the key of the issuing certificate");
  }
  return Certificate::from_der(
      assemble_certificate(redeemed.tbs(), redeemed.signature_algorithm(), signature));
}

CertificateRevocationList sign_list(const Bytes& tbs, EVP_PKEY* key, const Certificate& issuer) {
  KeyAlgorithm algorithm = issuer.public_key().algorithm();
  CertificateRevocationList list = CertificateRevocationList::from_der(
      assemble_certificate(tbs, algorithm, raw_signature(key, algorithm, tbs)));
  list.verify(issuer);
  return list;
}

}  // namespace fleetroot::ca
