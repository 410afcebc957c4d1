// The one place where a CA's key signs a certificate: only what was linted, and only once.
#pragma once

#include "factory-ca/lint.h"

namespace fleetroot::ca {

// Signs exactly the linted bytes with `key`, whose public half is `public_key`, and verifies the signature in
// software before anybody sees it. Error(token_untrusted) if the token does not sign, or signs with another
// key.
Certificate sign(LintedCertificate&& linted, EVP_PKEY* key, const PublicKey& public_key);

}  // namespace fleetroot::ca
