// A factory CA's home directory: where its files are and what ca.toml says.
//
//   ca.toml           settings
//   profiles/         what certificates say: device.toml, idevid.toml, and whatever is added
//   ledger.db         orders, certificates, log
//   fleet-root.pem    the Fleet Root's certificate, for gateways and stations
//   issuing-ca.pem    the certificate that devices' certificates are signed under, for stations
//   crl.der, crl.pem  the last complete revocation list; delta-crl.der, delta-crl.pem the last delta
//   softhsm/          the embedded token of the issuing key, unless ca.toml names another
//   root/             the embedded token of the Fleet Root's key; to be carried to a safe
//
// An offline root's home has no issuing key; a factory's home may have no root key.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "factory-ca/profile.h"
#include "lib/x509/certificate.h"
#include "pkcs11/key_policy.h"
#include "pkcs11/signing_key.h"

namespace fleetroot::ca {

struct KeyLocation {
  pkcs11::TokenSettings token;
  pkcs11::KeyId id;
};

struct Settings {
  std::string name;
  std::optional<KeyLocation> issuing;
  std::optional<KeyLocation> root;
  Validity station_validity;
  // From thisUpdate to nextUpdate.
  Validity list_validity;
  Validity delta_list_validity;
};

class Home {
 public:
  explicit Home(std::filesystem::path path) : path_(std::move(path)) {}

  // Error(configuration).
  Settings settings() const;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path file(const char* name) const { return path_ / name; }
  std::filesystem::path profiles() const { return path_ / "profiles"; }
  // Where the ledger is. Error(configuration) if there is no CA at this path.
  std::filesystem::path ledger() const;

  // Error(configuration) while it is not there.
  Certificate fleet_root() const;
  Certificate issuing_certificate() const;
  // None in an offline root's home, nor before root accept.
  std::optional<Certificate> issuing_certificate_if_present() const;

 private:
  std::filesystem::path path_;
};

// Error(configuration) where this home has no such key.
const KeyLocation& issuing_key_of(const Settings& settings);
const KeyLocation& root_key_of(const Settings& settings);

// What init writes.
std::string settings_text(const std::string& name, const std::optional<KeyLocation>& issuing,
                          const std::optional<KeyLocation>& root);

}  // namespace fleetroot::ca
