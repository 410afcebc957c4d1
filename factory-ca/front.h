// The front: what of the CA speaks HTTP. It has no key of the CA and no PIN, decides nothing about
// certificates, and asks the signer.
#pragma once

#include <string>

#include "factory-ca/home.h"
#include "factory-ca/signer_link.h"
#include "lib/base/clock.h"
#include "lib/http/server.h"
#include "pkcs11/token_settings.h"

namespace fleetroot::ca {

struct FrontSettings {
  // Otherwise anybody may connect, and only what the messages themselves prove counts.
  bool wants_station_certificate = true;
  // EST too. Then anybody may connect to ask for the CA's certificates, as RFC 7030 section 4.1.1 has it, and
  // for nothing else.
  bool speaks_est = false;
  // By which the signer knows, then, that the front asks in a station's name
  // (Issuer::trust_registration_authority).
  std::string registration_secret{};
  http::Limits limits{};
};

// Serves on the listeners until `lifeline` ends; then finishes what was accepted. Calls `ready` when it
// serves, and `when_signing_fails` where its own key does not.
void run_front(const Home& home, const FrontSettings& settings, std::vector<http::Listener> listeners,
               int lifeline, const pkcs11::SigningFailure& when_signing_fails,
               const std::function<void()>& ready);

}  // namespace fleetroot::ca
