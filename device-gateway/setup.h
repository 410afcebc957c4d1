// Making a gateway, and looking whether it is sound.
#pragma once

#include <string>
#include <vector>

#include "device-gateway/authority.h"
#include "device-gateway/home.h"
#include "pkcs11/signing_token.h"

namespace fleetroot::gateway {

struct NewGateway {
  std::filesystem::path home;
  // Host names and addresses; the first is the gateway's own.
  std::vector<std::string> names;
  std::vector<EnvironmentName> environments;
  // Those of them where shared credentials may make devices.
  std::vector<EnvironmentName> shared;
  // A PKCS#11 URI; empty for an embedded SoftHSM token.
  std::string token;
  KeyAlgorithm algorithm = KeyAlgorithm::p256;
};

// Makes the home. Error(cannot_create) if something is there already; on any failure nothing is left of it,
// nor of its keys in the token.
void create_gateway(const NewGateway& wanted, const Clock& clock);

// A certificate of an environment's with its key, which is held against it. Error(configuration).
CertifiedKey open_key(const Home& home, const EnvironmentName& environment, const char* certificate,
                      const pkcs11::SigningToken& token, const pkcs11::KeyId& id);

// One line a thing that was checked; throws for the first that is wrong. Opens the keys and signs with them.
std::vector<std::string> check_configuration(const Home& home, const Clock& clock);

}  // namespace fleetroot::gateway
