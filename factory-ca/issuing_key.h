// The one place where a CA's key signs a certificate: only what was linted, and only once; and where it signs
// revocation lists.
#pragma once

#include "factory-ca/lint.h"
#include "lib/x509/crl.h"

namespace fleetroot::ca {

// The certificate of exactly the linted bytes, in DER, signed with `key`, whose public half is `public_key`;
// the signature is verified in software before anybody sees it. Error(busy) if the token does not sign,
// Error(configuration) if it signs wrongly or with another key: neither says anything against the request.
Bytes sign(LintedCertificate&& linted, EVP_PKEY* key, const PublicKey& public_key);

// Signs a TBSCertList. What comes back was read strictly and verified with `issuer`. What the token says if
// it does not sign; Error(certificate_rejected) for an issuer that may not sign lists.
CertificateRevocationList sign_list(const Bytes& tbs, EVP_PKEY* key, const Certificate& issuer);

}  // namespace fleetroot::ca
