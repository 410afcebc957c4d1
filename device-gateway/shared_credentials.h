// credentials.zip, as aktualizr and aktualizr-cert-provider read it (docs/formats.md): one provisioning key
// for many devices without hardware of their own.
#pragma once

#include "device-gateway/home.h"

namespace fleetroot::gateway {

struct NewCredentials {
  EnvironmentName environment;
  std::filesystem::path out;
  std::int64_t quota = 0;
  std::chrono::days lasts{};
  std::string url;  // empty: the environment's
};

// Makes the key, writes `out` (mode 0600) and registers the key; its key is nowhere else.
// Error(configuration) if the environment allows no shared credentials; Error(usage) for a URL that devices
// could not speak to; Error(cannot_create) if there is such a file already.
CredentialRecord create_credentials(const Home& home, const NewCredentials& wanted, const Clock& clock);

}  // namespace fleetroot::gateway
