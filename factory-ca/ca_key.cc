#include "factory-ca/ca_key.h"

#include <fmt/format.h>

namespace fleetroot::ca {

CaKey::CaKey(const KeyLocation& location, const Certificate& certificate)
    : key_(pkcs11::SigningKey::open(location.token, location.id)),
      signer_{.key = key_.evp(),
              .public_key = key_.public_key(),
              .facts = IssuerFacts::of(certificate),
              .certificate = certificate} {
  if (!(key_.public_key() == certificate.public_key())) {
    throw Error(ErrorCode::configuration,
                fmt::format("the key in the token is not the one of {}", certificate.subject()),
                "correct the token or the key ID in ca.toml");
  }
}

}  // namespace fleetroot::ca
