#include "tool/home.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <regex>

#include "lib/base/config.h"
#include "lib/base/files.h"
#include "lib/base/held_signals.h"
#include "lib/x509/certificate_request.h"
#include "pkcs11/uri.h"

namespace fleetroot::station {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStationKeyLabel = "fleetroot-station";

std::string settings_text(const StationName& name, const pkcs11::TokenSettings& token) {
  std::string text = fmt::format(
      "# A Fleetroot station. `fleetroot-station config check --home DIR` checks this file.\n"
      "name = {}\n"
      "# Where requests go; `enroll` sets it. https://host:port, cmp+http://host:port, "
      "est+https://host:port,\n"
      "# media:DIR or exec:COMMAND\n"
      "ca = \"\"\n"
      "ca_timeout_seconds = 60\n\n"
      "# The token that holds the station's own key.\n"
      "[token]\n"
      "uri = {}\n"
      "key_id = \"01\"\n",
      toml_string(name.text()), toml_string(token.uri));
  if (token.softhsm_directory) text += "softhsm_directory = \"softhsm\"\n";
  text +=
      "\n# What a device's token gets: preset fleetroot, aktualizr or lmp; algorithm p256, p384, rsa2048, "
      "rsa3072, ed25519.\n"
      "[device]\n"
      "preset = \"fleetroot\"\n"
      "algorithm = \"p256\"\n"
      "# A self-signed certificate on the token until the real one arrives.\n"
      "placeholder = false\n"
      "# The issuing CA's certificate on the token, beside the device's.\n"
      "write_chain = false\n"
      "# A token that takes longer over one step counts as hung.\n"
      "timeout_seconds = 120\n\n"
      "# The bays of `fleetroot-station line`, one table each; {device_id} is the ID that was scanned.\n"
      "# [[bay]]\n"
      "# name = \"1\"\n"
      "# token = "
      "\"pkcs11:token={device_id}?module-path=/usr/lib/vendor.so&pin-source=file:pins/{device_id}\"\n";
  return text;
}

template <typename Read>
auto read_enrolled(const fs::path& path, Read read) {
  std::optional<std::string> pem = read_file_if_present(path);
  if (!pem) {
    throw Error(ErrorCode::configuration,
                fmt::format("this station is not enrolled: there is no {}", path.string()),
                "send station.csr to the factory CA and run fleetroot-station enroll with what comes back");
  }
  return read_as_configuration(path, [&] { return read(*pem); });
}

int bounded(ConfigFile& config, const char* key, int fallback, int maximum) {
  std::int64_t value = config.integer(key).value_or(fallback);
  if (value < 1 || value > maximum)
    config.refuse(key, fmt::format("must be 1 to {}", maximum), "correct the value");
  return static_cast<int>(value);
}

// A value that has a parser of its own: what that says becomes an error about the key in the file.
template <typename Parse>
auto parsed(const ConfigFile& config, std::string_view key, const Parse& parse) {
  try {
    return parse();
  } catch (const Error& error) {
    config.refuse(key, "is not valid: " + error.message(), error.hint());
  }
}

std::vector<Bay> read_bays(ConfigFile& config, const fs::path& home) {
  std::vector<Bay> bays;
  std::size_t count = config.tables("bay");
  for (std::size_t i = 0; i < count; ++i) {
    std::string table = fmt::format("bay[{}]", i);
    std::string name = config.required_string(table + ".name");
    std::string token = config.required_string(table + ".token");
    std::string remote = config.string(table + ".remote_module").value_or("");
    if (!remote.empty())
      parsed(config, table + ".remote_module", [&] { return &pkcs11::remote_profile(remote); });
    bays.push_back(
        {.name = parsed(config, table + ".name", [&] { return BayName::parse(name); }),
         .token = parsed(config, table + ".token", [&] { return TokenTemplate::parse(token, home); }),
         .module = {.init_args = config.string(table + ".module_args").value_or(""), .remote = remote}});
  }
  refuse_double_names(bays, ErrorCode::configuration);
  return bays;
}

// Programs that keep back-ups leave out empty directories.
void make_unless_there(const fs::path& directory) {
  if (mkdir(directory.c_str(), 0700) == 0 || errno == EEXIST) return;
  throw system_error(ErrorCode::cannot_create,
                     fmt::format("cannot create the directory {}", directory.string()),
                     "check the home's permissions and the disk", errno);
}

}  // namespace

PublicKey Home::create(const fs::path& path, const StationName& name, const std::string& token_uri,
                       KeyAlgorithm algorithm) {
  refuse_unless_signs_messages(algorithm);
  pkcs11::refuse_unless_possible(token_uri, path / "softhsm");
  HeldSignals signals;
  make_private_directory(path);
  const pkcs11::KeyName key_name{pkcs11::KeyId::parse("01"), kStationKeyLabel};
  pkcs11::TokenSettings token{.uri = token_uri, .home = path, .softhsm_directory = {}, .init_args = {}};
  bool has_key = false;
  try {
    if (token_uri.empty()) {
      token = pkcs11::create_softhsm_token(path, path / "softhsm", name.text().substr(0, 32),
                                           path / "station.pin");
    }
    pkcs11::SigningKey key = pkcs11::SigningKey::generate(token, algorithm, key_name);
    has_key = true;
    CertificateRequest request = CertificateRequest::create(name.text(), key.public_key(), key.evp());
    make_private_directory(path / "locks");
    write_file(path / "station.csr", request.pem());
    signals.refuse_if_one_came();
    write_file(path / "station.toml", settings_text(name, token), 0644);
    return key.public_key();
  } catch (...) {
    // A token of somebody else's does not go with the directory.
    if (has_key && !token_uri.empty() && !pkcs11::SigningKey::take_back(token, key_name)) {
      fmt::print(stderr, "fleetroot-station: the new key {} is still in its token: delete it there\n",
                 key_name.label);
    }
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator(path, ignored))
      fs::remove_all(entry, ignored);
    fs::remove(path, ignored);
    throw;
  }
}

Settings Home::settings() const {
  Settings settings = read_settings(ConfigFile::read(file("station.toml")));
  make_unless_there(file("locks"));
  return settings;
}

Settings Home::read_settings(ConfigFile config) const {
  std::string name = config.required_string("name");
  std::string uri = config.required_string("token.uri");
  std::string key_id = config.string("token.key_id").value_or("01");
  std::optional<std::string> softhsm = config.string("token.softhsm_directory");
  std::string init_args = config.string("token.module_args").value_or("");
  std::string preset = config.string("device.preset").value_or("fleetroot");
  std::string algorithm = config.string("device.algorithm").value_or("p256");
  Settings settings{
      .name = parsed(config, "name", [&] { return StationName::parse(name); }),
      .ca = config.string("ca").value_or(""),
      .station_token = {.uri = uri,
                        .home = path_,
                        .softhsm_directory = softhsm ? std::optional(path_ / *softhsm) : std::nullopt,
                        .init_args = init_args},
      .station_key_id = parsed(config, "token.key_id", [&] { return pkcs11::KeyId::parse(key_id); }),
      .device_preset = preset,
      .device_algorithm = parsed(config, "device.algorithm", [&] { return parse_key_algorithm(algorithm); }),
      .placeholder = config.boolean("device.placeholder").value_or(false),
      .write_chain = config.boolean("device.write_chain").value_or(false),
      .token_timeout_seconds = bounded(config, "device.timeout_seconds", kTokenTimeout, 3600),
      .ca_timeout_seconds = bounded(config, "ca_timeout_seconds", 60, 3600),
      .bays = read_bays(config, path_)};
  config.refuse_unknown_keys();
  parsed(config, "token.uri", [&] { return pkcs11::Uri::parse(uri); });
  parsed(config, "device.preset",
         [&] { return pkcs11::KeyPolicy::preset(preset, settings.device_algorithm); });
  return settings;
}

std::string Home::settings_text_with(const std::string& ca) const {
  std::string text = read_file(file("station.toml"));
  std::string line = "ca = " + toml_string(ca);
  static const std::regex kLine("(^|\n)[ \t]*ca[ \t]*=[^\n]*");
  std::smatch match;
  if (std::regex_search(text, match, kLine)) {
    text.replace(static_cast<std::size_t>(match.position(0)) + static_cast<std::size_t>(match[1].length()),
                 static_cast<std::size_t>(match.length(0) - match[1].length()), line);
  } else {
    text.insert(0, line + "\n");
  }
  Settings settings = read_settings(ConfigFile::parse(text, file("station.toml").string()));
  if (settings.ca != ca) {
    throw Error(
        ErrorCode::configuration,
        fmt::format("{}: no line of it says where requests go", file("station.toml").string()),
        "write ca = \"\" in a line of its own, above the first [table]; then run the same command again");
  }
  return text;
}

Certificate Home::station_certificate() const {
  Certificate certificate =
      read_enrolled(file("station.pem"), [](const std::string& pem) { return Certificate::from_pem(pem); });
  std::string name = settings().name.text();
  if (certificate.common_name() == name) return certificate;
  throw Error(ErrorCode::configuration,
              fmt::format("{}: name is {}, and the station's certificate is for {}",
                          file("station.toml").string(), name, certificate.subject()),
              "correct the name, or enroll the station with its own certificate");
}

std::vector<Certificate> Home::issuing_certificates() const {
  return read_enrolled(file("issuing-ca.pem"), Certificate::list_from_pem);
}

std::vector<Certificate> Home::fleet_roots() const {
  return read_enrolled(file("fleet-root.pem"), Certificate::list_from_pem);
}

}  // namespace fleetroot::station
