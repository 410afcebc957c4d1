#include "factory-ca/home.h"

#include <fmt/format.h>

#include "factory-ca/distinguished_name.h"
#include "lib/base/config.h"
#include "lib/base/files.h"
#include "pkcs11/uri.h"

namespace fleetroot::ca {
namespace {

namespace fs = std::filesystem;

std::optional<KeyLocation> read_key(ConfigFile& config, const fs::path& home, const std::string& section) {
  auto key = [&](const char* name) { return section + "." + name; };
  std::optional<std::string> uri = config.string(key("uri"));
  std::string id = config.string(key("key_id")).value_or("01");
  std::optional<std::string> softhsm = config.string(key("softhsm_directory"));
  std::string init_args = config.string(key("module_args")).value_or("");
  if (!uri) return std::nullopt;
  try {
    pkcs11::Uri::parse(*uri);
  } catch (const Error& error) {
    config.refuse(key("uri"), "is not valid: " + error.message(), error.hint());
  }
  try {
    return KeyLocation{.token = {.uri = *uri,
                                 .home = home,
                                 .softhsm_directory = softhsm ? std::optional(home / *softhsm) : std::nullopt,
                                 .init_args = init_args},
                       .id = pkcs11::KeyId::parse(id)};
  } catch (const Error& error) {
    config.refuse(key("key_id"), "is not valid: " + error.message(), error.hint());
  }
}

// One that ends: "none" is for devices.
Validity read_validity(ConfigFile& config, const char* key, const char* fallback) {
  std::optional<Validity> validity = Validity::parse(config.string(key).value_or(fallback));
  if (!validity || validity->end(Time()) == kNoExpiry) {
    config.refuse(key, "is not valid", "write \"3 years\" or \"90 days\"");
  }
  return *validity;
}

std::string key_text(const char* section, const KeyLocation& key) {
  std::string text =
      fmt::format("\n[{}]\nuri = {}\nkey_id = \"{}\"\n", section, toml_string(key.token.uri), key.id.hex());
  if (key.token.softhsm_directory) {
    fs::path relative = fs::relative(*key.token.softhsm_directory, key.token.home);
    text += fmt::format("softhsm_directory = {}\n", toml_string(relative.string()));
  }
  if (!key.token.init_args.empty()) {
    text += fmt::format("module_args = {}\n", toml_string(key.token.init_args));
  }
  return text;
}

std::optional<Certificate> read_certificate_if_present(const fs::path& path) {
  std::optional<std::string> pem = read_file_if_present(path);
  if (!pem) return std::nullopt;
  return read_as_configuration(path, [&] { return Certificate::from_pem(*pem); });
}

Certificate read_certificate(const fs::path& path, const char* hint) {
  std::optional<Certificate> certificate = read_certificate_if_present(path);
  if (!certificate) throw Error(ErrorCode::configuration, fmt::format("there is no {}", path.string()), hint);
  return *certificate;
}

const KeyLocation& present(const std::optional<KeyLocation>& key, const char* message, const char* hint) {
  if (!key) throw Error(ErrorCode::configuration, message, hint);
  return *key;
}

}  // namespace

Settings Home::settings() const {
  ConfigFile config = ConfigFile::read(file("ca.toml"));
  Settings settings{.name = config.required_string("name"),
                    .issuing = read_key(config, path_, "issuing"),
                    .root = read_key(config, path_, "root"),
                    .station_validity = read_validity(config, "stations.validity", "3 years"),
                    .list_validity = read_validity(config, "crl.validity", "30 days"),
                    .delta_list_validity = read_validity(config, "crl.delta_validity", "7 days")};
  config.refuse_unknown_keys();
  if (std::string reason = reason_against_ca_name(settings.name); !reason.empty())
    config.refuse("name", "cannot be used: " + reason, "put back the name that the CA was made with");
  return settings;
}

fs::path Home::ledger() const {
  ConfigFile::refuse_unless_there(file("ca.toml"));
  // init made it, and SQLite would make another: one that knows no serial number, order or revocation.
  fs::path ledger = file("ledger.db");
  std::error_code absent;
  std::uintmax_t size = fs::file_size(ledger, absent);
  if (absent || size == 0) {
    throw Error(ErrorCode::io, fmt::format("the ledger {} is {}", ledger.string(), absent ? "gone" : "empty"),
                "stop, and restore the back-up: the CA never begins anew");
  }
  return ledger;
}

Certificate Home::fleet_root() const {
  return read_certificate(
      file("fleet-root.pem"),
      "restore it from the back-up; or take over what the root issued: fleetroot-ca root accept --help");
}

Certificate Home::issuing_certificate() const {
  return read_certificate(
      file("issuing-ca.pem"),
      "have issuing-ca.csr signed by the Fleet Root, then run fleetroot-ca root accept with what comes back");
}

std::optional<Certificate> Home::issuing_certificate_if_present() const {
  return read_certificate_if_present(file("issuing-ca.pem"));
}

const KeyLocation& issuing_key_of(const Settings& settings) {
  return present(settings.issuing, "this home has no issuing key: it is an offline root's",
                 "name the factory CA's home");
}

const KeyLocation& root_key_of(const Settings& settings) {
  return present(settings.root, "this home has no root key", "name the home of the Fleet Root");
}

std::string settings_text(const std::string& name, const std::optional<KeyLocation>& issuing,
                          const std::optional<KeyLocation>& root) {
  std::string text =
      fmt::format("# A Fleetroot CA. `fleetroot-ca config check --home DIR` checks this file.\nname = {}\n",
                  toml_string(name));
  if (issuing) text += key_text("issuing", *issuing);
  if (root) text += key_text("root", *root);
  if (issuing)
    text +=
        "\n[stations]\n# of a station's certificate\nvalidity = \"3 years\"\n\n"
        "[crl]\n# how long a revocation list holds, and a delta list\nvalidity = \"30 days\"\n"
        "delta_validity = \"7 days\"\n";
  return text;
}

}  // namespace fleetroot::ca
