#include "device-gateway/setup.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/base/files.h"
#include "lib/base/held_signals.h"
#include "lib/x509/certificate_request.h"

namespace fleetroot::gateway {
namespace {

namespace fs = std::filesystem;

// A home in the making: gone again unless finish() was reached, whether an error or a signal ends it.
class NewHome {
 public:
  explicit NewHome(fs::path path) : path_(std::move(path)) { make_private_directory(path_); }
  NewHome(const NewHome&) = delete;
  NewHome& operator=(const NewHome&) = delete;
  ~NewHome() {
    if (finished_) return;
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  // gateway.toml last: while it is not there, no command takes the directory for a gateway.
  void finish(const Settings& settings) {
    signals_.refuse_if_one_came();
    write_file(path_ / "gateway.toml", settings_text(settings));
    finished_ = true;
  }

 private:
  HeldSignals signals_;  // first: they strike when all else is done
  fs::path path_;
  bool finished_ = false;
};

// They go into a certificate, a URL and a TOML file.
void refuse_bad_names(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (is_server_name(name)) continue;
    throw Error(ErrorCode::usage, fmt::format("\"{}\" is no host name or address to connect to", name),
                kServerNameHint);
  }
}

// Its certificates are for whatever TLS clients devices have.
void refuse_unless_clients_take(KeyAlgorithm algorithm) {
  if (algorithm != KeyAlgorithm::ed25519) return;
  throw Error(ErrorCode::usage,
              "a gateway cannot have an Ed25519 key: many TLS clients take no certificate with one",
              "choose p256, p384, rsa2048 or rsa3072 here; devices may have ed25519");
}

std::string url_of(const std::string& name) {
  bool is_ipv6 = name.find(':') != std::string::npos;
  return is_ipv6 ? fmt::format("https://[{}]", name) : fmt::format("https://{}", name);
}

void refuse_bad_environments(const NewGateway& wanted) {
  auto has = [](const std::vector<EnvironmentName>& list, const EnvironmentName& name) {
    return std::count(list.begin(), list.end(), name) == 1;
  };
  for (const EnvironmentName& name : wanted.environments) {
    if (name.text().find('.') != std::string::npos || !has(wanted.environments, name)) {
      throw Error(ErrorCode::usage, fmt::format("the environment {} cannot be made", name.text()),
                  "name each once, without a dot, like production");
    }
  }
  for (const EnvironmentName& name : wanted.shared) {
    if (has(wanted.environments, name) && name.text() != "production") continue;
    throw Error(ErrorCode::usage, fmt::format("{} cannot have shared credentials", name.text()),
                "name one of the environments, and not production: there, devices bring their own keys");
  }
}

// The new home's keys, in a token that may lie outside of it: taken back unless keep() was reached.
class NewKeys {
 public:
  NewKeys(const NewGateway& wanted, pkcs11::SigningToken& token) : wanted_(wanted), token_(token) {}
  NewKeys(const NewKeys&) = delete;
  NewKeys& operator=(const NewKeys&) = delete;
  ~NewKeys() {
    bool is_embedded = wanted_.token.empty();  // goes with the home
    if (are_kept_ || is_embedded) return;
    for (const pkcs11::KeyName& name : names_) take_back(name);
  }

  pkcs11::KeyId make(const std::string& label) {
    auto number = static_cast<std::uint8_t>(names_.size() + 1);
    pkcs11::KeyName name{pkcs11::KeyId::from_bytes(Bytes{number}), label};
    token_.generate(wanted_.algorithm, name);
    names_.push_back(name);
    return name.id;
  }
  void keep() { are_kept_ = true; }

 private:
  void take_back(const pkcs11::KeyName& name) {
    try {
      token_.destroy(name);
    } catch (const Error&) {
      fmt::print(stderr, "fleetroot-gateway: the new key {} is still in its token: delete it there\n",
                 name.label);
    }
  }

  const NewGateway& wanted_;
  pkcs11::SigningToken& token_;
  std::vector<pkcs11::KeyName> names_;
  bool are_kept_ = false;
};

class Maker {
 public:
  Maker(const NewGateway& wanted, pkcs11::SigningToken& token, NewKeys& keys, Time now)
      : wanted_(wanted), home_(wanted.home), token_(token), keys_(keys), now_(now) {}

  EnvironmentSettings make(const EnvironmentName& name) {
    make_private_directory(home_.path() / "environments" / name.text());
    const std::string& text = name.text();
    EnvironmentSettings settings{.name = name,
                                 .url = url_of(wanted_.names.front()),
                                 .upstream = {},
                                 .is_strict = false,
                                 .root_key = keys_.make(text + " gateway root"),
                                 .server_key = keys_.make(text + " server"),
                                 .device_root_key = {}};
    CertifiedKey root = root_of(name, "gateway-root.pem", settings.root_key, "gateway root");
    pkcs11::TokenKey server = token_.key(settings.server_key);
    write_file(home_.file(name, "server.pem"),
               make_server_certificate(wanted_.names, server.public_key, root, now_).pem());
    if (std::find(wanted_.shared.begin(), wanted_.shared.end(), name) != wanted_.shared.end()) {
      settings.device_root_key = keys_.make(text + " fleet root");
      CertifiedKey devices = root_of(name, "fleet-root.pem", *settings.device_root_key, "Fleet Root");
      registry_.add_root({.environment = name,
                          .fingerprint = devices.certificate.fingerprint(),
                          .added_at = format_time(now_),
                          .certificate = devices.certificate});
    }
    return settings;
  }

 private:
  CertifiedKey root_of(const EnvironmentName& name, const char* file, const pkcs11::KeyId& id,
                       const char* what) {
    pkcs11::TokenKey key = token_.key(id);
    EvpPkeyPtr evp = key.evp();
    std::string common_name =
        fmt::format("{} {} {}", wanted_.names.front().substr(0, 30), name.text().substr(0, 16), what);
    Certificate certificate = make_root(common_name, key.public_key, evp.get(), now_);
    write_file(home_.file(name, file), certificate.pem());
    return {std::move(certificate), std::move(evp)};
  }

  const NewGateway& wanted_;
  Home home_;
  pkcs11::SigningToken& token_;
  NewKeys& keys_;
  Time now_;
  Registry registry_{wanted_.home / "registry.db"};
};

}  // namespace

void create_gateway(const NewGateway& wanted, const Clock& clock) {
  refuse_bad_names(wanted.names);
  refuse_bad_environments(wanted);
  refuse_unless_clients_take(wanted.algorithm);
  pkcs11::refuse_unless_possible(wanted.token, wanted.home / "softhsm");
  NewHome home(wanted.home);
  make_private_directory(wanted.home / "environments");
  Settings settings{.names = wanted.names, .token = {}, .environments = {}};
  if (wanted.token.empty()) {
    settings.token = pkcs11::create_softhsm_token(wanted.home, wanted.home / "softhsm", "gateway",
                                                  wanted.home / "gateway.pin");
  } else {
    settings.token = {.uri = wanted.token, .home = wanted.home, .softhsm_directory = {}, .init_args = {}};
  }
  pkcs11::SigningToken token(settings.token);
  NewKeys keys(wanted, token);
  Maker maker(wanted, token, keys, clock.now());
  for (const EnvironmentName& name : wanted.environments) settings.environments.push_back(maker.make(name));
  home.finish(settings);
  keys.keep();
}

CertifiedKey open_key(const Home& home, const EnvironmentName& environment, const char* certificate,
                      const pkcs11::SigningToken& token, const pkcs11::KeyId& id) {
  Certificate certified = home.certificate(environment, certificate);
  pkcs11::TokenKey key = token.key(id);
  if (!(certified.public_key() == key.public_key)) {
    throw Error(ErrorCode::configuration,
                fmt::format("the key {} in the token is not the one of {}", id.hex(),
                            home.file(environment, certificate).string()),
                "correct the token or the key IDs in gateway.toml");
  }
  return {std::move(certified), key.evp()};
}

std::vector<std::string> check_configuration(const Home& home, const Clock& clock) {
  std::vector<std::string> lines;
  Settings settings = home.settings();
  lines.push_back(fmt::format("gateway.toml is well formed; this is {}", settings.names.front()));
  Registry registry(home.registry());
  World world = World::read(registry, settings.environment_names());
  pkcs11::SigningToken token(settings.token);
  for (const EnvironmentSettings& environment : settings.environments) {
    const std::string& name = environment.name.text();
    CertifiedKey root = open_key(home, environment.name, "gateway-root.pem", token, environment.root_key);
    CertifiedKey server = open_key(home, environment.name, "server.pem", token, environment.server_key);
    pkcs11::TokenKey key = token.key(environment.server_key);
    refuse_unless_signs(key.public_key, server.key.get());
    lines.push_back(fmt::format(
        "{}: the server's key signs; its certificate ends {}{}", name,
        format_time(server.certificate.not_after()),
        is_due(server.certificate, settings.names, clock.now()) ? ", and serve will renew it" : ""));
    if (environment.device_root_key) {
      open_key(home, environment.name, "fleet-root.pem", token, *environment.device_root_key);
      lines.push_back(fmt::format("{}: shared credentials are allowed, and their root's key is there", name));
    }
    for (const ListRecord& record : registry.lists(environment.name)) {
      CertificateRevocationList list = CertificateRevocationList::from_der(record.der);
      if (record.is_delta || !list.is_overdue(clock.now())) continue;
      lines.push_back(
          fmt::format("{}: the revocation list {} of {} holds, but a newer one was due {}: import it", name,
                      list.number(), list.issuer(), format_time(list.next_update())));
    }
    std::size_t roots = world.trust.at(environment.name).roots().size();
    lines.push_back(fmt::format("{}: {} Fleet Roots{}{}", name, roots,
                                roots == 0 ? ": nobody is admitted before fleet-root add" : "",
                                environment.is_strict ? "; only devices on a manifest" : ""));
  }
  return lines;
}

}  // namespace fleetroot::gateway
