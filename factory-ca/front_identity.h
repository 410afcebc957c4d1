// The front's own identity, which is none of the CA's: a key in a token of its own, and a certificate for a
// TLS server that the CA gave it.
//
//   front/softhsm/     its token           front/front.pin    that token's PIN
//   front/front.csr    while it waits      front/front.pem    from then on
#pragma once

#include <string>
#include <vector>

#include "factory-ca/authority.h"
#include "factory-ca/home.h"
#include "lib/base/clock.h"
#include "pkcs11/signing_token.h"

namespace fleetroot::ca {

// Makes front/ anew, with a key and its request, unless there is a certificate for exactly these names that
// has a third of its life before it. Loads SoftHSM: in a process of its own.
void prepare_front_key(const Home& home, const std::vector<std::string>& names, Time now);

// Answers the request that waits, if one does. The certificate that the front had before is revoked.
void certify_front(const Home& home, const Signer& signer, Ledger& ledger,
                   const std::vector<std::string>& names, const Clock& clock);

// In the front's process.
class FrontIdentity {
 public:
  explicit FrontIdentity(const Home& home);
  // Its own certificate first.
  const std::vector<Certificate>& chain() const { return chain_; }
  EVP_PKEY* key() const { return key_.get(); }

 private:
  pkcs11::SigningToken token_;
  EvpPkeyPtr key_;
  std::vector<Certificate> chain_;
};

}  // namespace fleetroot::ca
