// The front's own identity, which is none of the CA's: a key in a token of its own, and a certificate for a
// TLS server that the CA gave it.
//
//   front/front.pem    the certificate
//   front/1/, front/2/ a token each, its PIN, and the request for its key: one is in force, the other is what
//                      was before, or comes next
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "factory-ca/authority.h"
#include "factory-ca/home.h"
#include "lib/base/clock.h"
#include "pkcs11/signing_token.h"

namespace fleetroot::ca {

// Whether there is a certificate for exactly these names, and in time; and whether it has a third of its life
// before it, too.
bool has_valid_front(const Home& home, const std::vector<std::string>& names, Time now);
bool has_good_front(const Home& home, const std::vector<std::string>& names, Time now);

// A new key and a certificate for it, which take the place of the old ones at once, where a front that starts
// from now on looks; one that runs goes on with the old ones. `certify` is given the request in DER and
// returns the certificate in DER. Loads SoftHSM: in a process of its own.
void renew_front(const Home& home, const std::function<Bytes(BytesView request)>& certify);

// The signer's part of it. The certificate that the front had before is revoked.
Certificate certify_front(const Home& home, const Signer& signer, Ledger& ledger, BytesView request,
                          const std::vector<std::string>& names, const Clock& clock);

// In the front's process.
class FrontIdentity {
 public:
  // `when_signing_fails` hears of a token that hangs, too, and must end the process then.
  FrontIdentity(const Home& home, pkcs11::SigningFailure when_signing_fails);
  // Its own certificate first.
  const std::vector<Certificate>& chain() const { return chain_; }
  EVP_PKEY* key() const { return key_.get(); }

 private:
  std::vector<Certificate> chain_;
  pkcs11::SigningToken token_;
  EvpPkeyPtr key_;
};

}  // namespace fleetroot::ca
