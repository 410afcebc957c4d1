#include "device-gateway/home.h"

#include <fmt/format.h>

#include <set>

#include "device-gateway/authority.h"
#include "lib/base/config.h"
#include "lib/base/files.h"
#include "pkcs11/uri.h"

namespace fleetroot::gateway {
namespace {

namespace fs = std::filesystem;

// What `read` makes of the text; its refusal as one of the file's.
template <typename Read>
auto read_value(const ConfigFile& config, const std::string& key, const Read& read) {
  try {
    return read();
  } catch (const Error& error) {
    config.refuse(key, "is not valid: " + error.message(), error.hint());
  }
}

pkcs11::KeyId key_id(const ConfigFile& config, const std::string& key, const std::string& text) {
  return read_value(config, key, [&] { return pkcs11::KeyId::parse(text); });
}

pkcs11::TokenSettings read_token(ConfigFile& config, const fs::path& home) {
  std::string uri = config.required_string("token.uri");
  read_value(config, "token.uri", [&] { return pkcs11::Uri::parse(uri); });
  std::optional<std::string> softhsm = config.string("token.softhsm_directory");
  return {.uri = uri,
          .home = home,
          .softhsm_directory = softhsm ? std::optional(home / *softhsm) : std::nullopt,
          .init_args = config.string("token.module_args").value_or("")};
}

std::string read_url(ConfigFile& config, const std::string& key) {
  std::string url = config.required_string(key);
  read_value(config, key, [&] { refuse_unless_https(url); });
  return url;
}

std::optional<http::Url> read_upstream(ConfigFile& config, const std::string& key) {
  constexpr const char* kHint = "write it like http://127.0.0.1:8080";
  std::optional<std::string> text = config.string(key);
  if (!text || text->empty()) return std::nullopt;
  try {
    http::Url url = http::Url::parse(*text);
    if (!url.is_tls && url.path == "/") return url;
  } catch (const Error& error) {
    config.refuse(key, "is not valid: " + error.message(), kHint);
  }
  config.refuse(key, fmt::format("is not valid: \"{}\" is not http://host:port alone", *text), kHint);
}

EnvironmentSettings read_environment(ConfigFile& config, const std::string& text) {
  auto name = read_value(config, "environments", [&] { return EnvironmentName::parse(text); });
  auto key = [&](const char* last) { return fmt::format("environment.{}.{}", text, last); };
  std::optional<std::string> device_root = config.string(key("device_root_key_id"));
  return {.name = name,
          .url = read_url(config, key("url")),
          .upstream = read_upstream(config, key("upstream")),
          .is_strict = config.boolean(key("strict")).value_or(false),
          .root_key = key_id(config, key("root_key_id"), config.required_string(key("root_key_id"))),
          .server_key = key_id(config, key("server_key_id"), config.required_string(key("server_key_id"))),
          .device_root_key = device_root
                                 ? std::optional(key_id(config, key("device_root_key_id"), *device_root))
                                 : std::nullopt};
}

std::string environment_text(const EnvironmentSettings& environment) {
  std::string text = fmt::format(
      "\n[environment.{}]\n# what shared credentials tell devices to speak to\nurl = {}\n"
      "# admit only devices that a manifest names\nstrict = {}\n"
      "# where all requests but the gateway's own go: upstream = \"http://127.0.0.1:8080\"\n"
      "root_key_id = \"{}\"\nserver_key_id = \"{}\"\n",
      environment.name.text(), toml_string(environment.url), environment.is_strict,
      environment.root_key.hex(), environment.server_key.hex());
  if (environment.device_root_key) {
    text += fmt::format(
        "# shared credentials are allowed: this key certifies the devices that they make\n"
        "device_root_key_id = \"{}\"\n",
        environment.device_root_key->hex());
  }
  return text;
}

}  // namespace

const EnvironmentSettings& Settings::environment(const EnvironmentName& name) const {
  std::string known;
  for (const EnvironmentSettings& environment : environments) {
    if (environment.name == name) return environment;
    known += (known.empty() ? "" : ", ") + environment.name.text();
  }
  throw Error(ErrorCode::usage, fmt::format("this gateway has no environment {}", name.text()),
              "it has " + known);
}

std::vector<EnvironmentName> Settings::environment_names() const {
  std::vector<EnvironmentName> list;
  for (const EnvironmentSettings& environment : environments) list.push_back(environment.name);
  return list;
}

Settings Home::settings() const {
  ConfigFile config = ConfigFile::read(path_ / "gateway.toml");
  Settings settings{.names = config.strings("names").value_or(std::vector<std::string>()),
                    .token = read_token(config, path_),
                    .environments = {}};
  std::set<std::string> listed;
  for (const std::string& name : config.strings("environments").value_or(std::vector<std::string>())) {
    if (!listed.insert(name).second)
      config.refuse("environments", fmt::format("has \"{}\" twice", name), "name each once");
    settings.environments.push_back(read_environment(config, name));
  }
  for (const std::string& name : config.tables_in("environment")) {
    if (listed.contains(name)) continue;
    config.refuse("environment." + name, "is the table of an environment that is not listed",
                  fmt::format("add \"{}\" to environments, or comment the table out", name));
  }
  config.refuse_unknown_keys();
  for (const EnvironmentSettings& environment : settings.environments) {
    if (environment.name.text() == "production" && environment.device_root_key) {
      config.refuse("environment.production.device_root_key_id", "allows shared credentials",
                    "take it out: in production, devices bring their own keys");
    }
  }
  if (settings.names.empty()) config.refuse("names", "is missing", "name the gateway's host");
  for (const std::string& name : settings.names) {
    if (is_server_name(name)) continue;
    config.refuse("names", fmt::format("has \"{}\", which is no host name or address to connect to", name),
                  kServerNameHint);
  }
  if (settings.environments.empty()) config.refuse("environments", "is missing", "name one at least");
  return settings;
}

fs::path Home::registry() const {
  ConfigFile::refuse_unless_there(path_ / "gateway.toml");
  fs::path registry = path_ / "registry.db";
  refuse_if_lost(registry);
  return registry;
}

Certificate Home::certificate(const EnvironmentName& environment, const char* name) const {
  fs::path path = file(environment, name);
  std::optional<std::string> pem = read_file_if_present(path);
  if (!pem) {
    throw Error(ErrorCode::configuration, fmt::format("there is no {}", path.string()),
                "put back what fleetroot-gateway init made");
  }
  return read_as_configuration(path, [&] { return Certificate::from_pem(*pem); });
}

void refuse_unless_https(const std::string& url) {
  if (http::Url::parse(url).is_tls) return;
  throw Error(ErrorCode::usage, fmt::format("\"{}\" is without TLS", url),
              "write it like https://host:port: devices speak to the gateway over TLS alone");
}

std::string settings_text(const Settings& settings) {
  auto list = [](const std::vector<std::string>& items) {
    std::string text;
    for (const std::string& item : items) text += (text.empty() ? "" : ", ") + toml_string(item);
    return "[" + text + "]";
  };
  std::vector<std::string> environments;
  for (const EnvironmentSettings& environment : settings.environments) {
    environments.push_back(environment.name.text());
  }
  std::string text = fmt::format(
      "# A Fleetroot gateway. `fleetroot-gateway config check --home DIR` checks this file.\n"
      "# in the servers' certificates; the first is the gateway's own\nnames = {}\nenvironments = {}\n\n"
      "[token]\nuri = {}\n",
      list(settings.names), list(environments), toml_string(settings.token.uri));
  if (settings.token.softhsm_directory) {
    fs::path relative = fs::relative(*settings.token.softhsm_directory, settings.token.home);
    text += fmt::format("softhsm_directory = {}\n", toml_string(relative.string()));
  }
  for (const EnvironmentSettings& environment : settings.environments) text += environment_text(environment);
  return text;
}

}  // namespace fleetroot::gateway
