// A CA's own key, opened in its token and held against its certificate.
#pragma once

#include "factory-ca/authority.h"
#include "factory-ca/home.h"

namespace fleetroot::ca {

// One at a time in a process: it owns the module. Error(configuration) if the token's key is not the
// certificate's; Error(pin_*, token_*) as the token says.
class CaKey {
 public:
  CaKey(const KeyLocation& location, const Certificate& certificate);

  const Signer& signer() const { return signer_; }
  const Certificate& certificate() const { return *signer_.certificate; }

 private:
  pkcs11::SigningKey key_;
  Signer signer_;
};

}  // namespace fleetroot::ca
