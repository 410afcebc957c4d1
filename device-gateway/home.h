// A gateway's home directory: where its files are and what gateway.toml says.
//
//   gateway.toml                          settings
//   registry.db                           Fleet Roots, devices, lists, manifests, provisioning keys
//   softhsm/, gateway.pin                 the embedded token of all keys, unless gateway.toml names another
//   environments/NAME/gateway-root.pem    what devices of this environment pin
//   environments/NAME/server.pem          the server's certificate below it
//   environments/NAME/fleet-root.pem      the root of the devices that are made here, where they may be
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "device-gateway/admission.h"
#include "lib/http/url.h"
#include "pkcs11/key_policy.h"
#include "pkcs11/token_settings.h"

namespace fleetroot::gateway {

struct EnvironmentSettings {
  EnvironmentName name;
  // What shared credentials tell devices to speak to.
  std::string url;
  // Where all but our own requests go, http://host:port: it is on this machine, or in a network that is
  // trusted.
  std::optional<http::Url> upstream;
  bool is_strict = false;
  pkcs11::KeyId root_key;
  pkcs11::KeyId server_key;
  // Of the Fleet Root for devices that are made here; only where shared credentials are allowed.
  std::optional<pkcs11::KeyId> device_root_key;

  Rules rules() const {
    return {.allows_shared_credentials = device_root_key.has_value(), .is_strict = is_strict};
  }
};

struct Settings {
  // Host names and addresses in the servers' certificates; the first is the gateway's name.
  std::vector<std::string> names;
  pkcs11::TokenSettings token;
  std::vector<EnvironmentSettings> environments;

  // Error(usage) names the ones that there are.
  const EnvironmentSettings& environment(const EnvironmentName& name) const;
  std::vector<EnvironmentName> environment_names() const;
};

enum class Commitment { for_real, dry_run };

class Home {
 public:
  explicit Home(std::filesystem::path path) : path_(std::move(path)) {}

  // Error(configuration).
  Settings settings() const;
  const std::filesystem::path& path() const { return path_; }
  // Error(configuration) if there is no gateway at this path, Error(io) if it has lost its registry.
  std::filesystem::path registry() const;
  std::filesystem::path file(const EnvironmentName& environment, const char* name) const {
    return path_ / "environments" / environment.text() / name;
  }
  Certificate certificate(const EnvironmentName& environment, const char* name) const;

 private:
  std::filesystem::path path_;
};

// For what devices are told to speak to: https:// alone. Error(usage).
void refuse_unless_https(const std::string& url);

// What init writes.
std::string settings_text(const Settings& settings);

}  // namespace fleetroot::gateway
