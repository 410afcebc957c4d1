// A station's home directory: where its files are and what station.toml says.
//
//   station.toml      settings
//   station.csr       the station key's request, for the factory CA
//   station.pem       the station's certificate          put there by `enroll`
//   issuing-ca.pem    the factory CA, pinned             put there by `enroll`
//   fleet-root.pem    the Fleet Root, pinned             put there by `enroll`
//   journal.db        what was done on which token
//   media/            bundles that were sent, and their answers (media_exchange.h)
//   softhsm/          the embedded token of the station key, unless station.toml names another
//   station.pin       its PIN
//   locks/            one file a token in use, and whose turn it is
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/config.h"
#include "lib/base/names.h"
#include "lib/x509/certificate.h"
#include "pkcs11/key_policy.h"
#include "pkcs11/signing_key.h"
#include "tool/bay.h"

namespace fleetroot::station {

// How long a step on a device's token may take where no home says anything else, in seconds.
constexpr int kTokenTimeout = 120;

struct Settings {
  StationName name;
  std::string ca;  // empty before `enroll`
  pkcs11::TokenSettings station_token;
  pkcs11::KeyId station_key_id;
  std::string device_preset;
  KeyAlgorithm device_algorithm;
  bool placeholder;
  bool write_chain;
  // How long any one step on a device's token may take before the token counts as hung.
  int token_timeout_seconds;
  int ca_timeout_seconds;
  // Of `line`; none where the station has no line.
  std::vector<Bay> bays;
};

class Home {
 public:
  explicit Home(std::filesystem::path path) : path_(std::move(path)) {}

  // Makes the directory, the station key in its token and station.csr, and returns the key's public half.
  // token_uri: empty for the embedded SoftHSM. Error(cannot_create) if something is there already; nothing
  // half-made is left behind.
  static PublicKey create(const std::filesystem::path& path, const StationName& name,
                          const std::string& token_uri, KeyAlgorithm algorithm);

  // Error(configuration).
  Settings settings() const;
  // What station.toml becomes with another `ca`, everything else untouched. Error(usage) for one that cannot
  // stand there, Error(configuration) if the file could not be read any more.
  std::string settings_text_with(const std::string& ca) const;

  std::filesystem::path file(const char* name) const { return path_ / name; }

  // Error(configuration) with the hint to enroll, while it is not there, and with its name if it is damaged.
  // The station's own must be for its name, or the CA would refuse every device.
  Certificate station_certificate() const;
  std::vector<Certificate> issuing_certificates() const;
  std::vector<Certificate> fleet_roots() const;

 private:
  Settings read_settings(ConfigFile config) const;

  std::filesystem::path path_;
};

}  // namespace fleetroot::station
