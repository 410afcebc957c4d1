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

// What it tells whoever started it.
struct FrontReports {
  std::function<void()> ready;             // it serves
  std::function<void()> signer_is_silent;  // as SignerLink says; on any thread
  pkcs11::SigningFailure signing_fails;    // its own key's
};

// Serves on the listeners until `lifeline` ends; then finishes what was accepted.
void run_front(const Home& home, const FrontSettings& settings, std::vector<http::Listener> listeners,
               int lifeline, const FrontReports& reports);

}  // namespace fleetroot::ca
