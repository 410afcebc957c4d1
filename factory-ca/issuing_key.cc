#include "factory-ca/issuing_key.h"

#include "lib/x509/signature.h"

namespace fleetroot::ca {

Bytes sign(LintedCertificate&& linted, EVP_PKEY* key, const PublicKey& public_key) {
  LintedCertificate redeemed = std::move(linted);
  Bytes signature;
  try {
    signature = sign_message(key, redeemed.signature_algorithm(), redeemed.tbs());
  } catch (const Error& error) {
    // Nothing against the request, which must not be taken for refused.
    throw Error(ErrorCode::busy, "the CA's token does not sign",
                "check the CA's token, then run the same command again: it resumes", error.what());
  }
  if (redeemed.signature_algorithm() != public_key.algorithm() ||
      !public_key.verifies(redeemed.tbs(), signature)) {
    throw Error(ErrorCode::configuration, "the signature of the CA's token does not verify",
                "stop, and check that the token holds the key of the issuing certificate");
  }
  return assemble_certificate(redeemed.tbs(), redeemed.signature_algorithm(), signature);
}

CertificateRevocationList sign_list(const Bytes& tbs, EVP_PKEY* key, const Certificate& issuer) {
  KeyAlgorithm algorithm = issuer.public_key().algorithm();
  CertificateRevocationList list = CertificateRevocationList::from_der(
      assemble_certificate(tbs, algorithm, sign_message(key, algorithm, tbs)));
  list.verify(issuer);
  return list;
}

}  // namespace fleetroot::ca
