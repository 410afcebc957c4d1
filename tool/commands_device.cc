// provision, verify, inspect.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <iostream>

#include "lib/base/files.h"
#include "lib/base/printable.h"
#include "lib/cli/json_line.h"
#include "lib/cli/named_file.h"
#include "tool/commands_cli.h"
#include "tool/device_check.h"
#include "tool/first_contact.h"
#include "tool/journal.h"
#include "tool/provision.h"
#include "tool/renew.h"
#include "tool/shared_provisioning.h"

namespace fleetroot::station {
namespace {

using Json = nlohmann::ordered_json;

// Why no PIN can be read there, or nothing. Asked while the command line is read: later the number may be
// that of a file of our own.
std::string reason_against_descriptor(const std::string& text) {
  int fd = -1;
  const char* end = text.data() + text.size();
  bool is_number = std::from_chars(text.data(), end, fd).ptr == end;
  int flags = is_number ? fcntl(fd, F_GETFL) : -1;
  bool is_readable = flags >= 0 && (flags & O_ACCMODE) != O_WRONLY;
  return is_readable
             ? ""
             : fmt::format("{} is no descriptor that is open for reading, as 3 is in --pin-fd 3 3<FILE",
                           text);
}

struct TokenOptions {
  std::string uri, module_args;
  std::optional<int> pin_fd;

  void add_to(CLI::App& command) {
    command.add_option("--token", uri, "PKCS#11 URI of the device's token, with module-path and pin-source")
        ->required();
    command.add_option("--module-args", module_args,
                       "initialisation string for the module (NSS softokn wants one)");
    command.add_option("--pin-fd", pin_fd, "read the PIN from this file descriptor")
        ->check(reason_against_descriptor);
  }
  pkcs11::Pin read_pin(const pkcs11::Uri& parsed) const {
    return pkcs11::read_pin({.fd = pin_fd,
                             .uri_source = parsed.pin_source,
                             .base = ".",
                             .prompt = fmt::format("PIN for {}", parsed.describe())});
  }
};

struct ProvisionOptions {
  std::string home, device_id, device_id_file, order, bay = "1", ca, preset, algorithm;
  TokenOptions token;
  // Instead of home, order and token: shared credentials, and where the identity goes.
  std::string shared, out, gateway;
  bool json = false, placeholder = false, retry_pin = false, rework = false;
};

constexpr std::size_t kMaximumScan = 4096;

// A scan as a file or a pipe gives it: without the one line end that scanners append.
std::string read_scan(const ProvisionOptions& options) {
  if (options.device_id_file.empty()) return options.device_id;
  std::string text;
  if (options.device_id_file == "-") {
    text.resize(kMaximumScan + 1);
    std::cin.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(std::cin.gcount()));  // one that is too long is no ID
  } else {
    text = read_file(options.device_id_file, kMaximumScan);
  }
  if (text.ends_with("\r\n")) return text.substr(0, text.size() - 2);
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

int provision(const ProvisionOptions& options) {
  Reporter reporter(options.json ? Reporter::Format::json : Reporter::Format::human);
  try {
    Home home(options.home);
    Settings settings = home.settings();
    pkcs11::Uri uri = pkcs11::Uri::parse(options.token.uri);
    std::string ca = choose_ca(home, settings, options.ca);
    std::string scan = read_scan(options);
    reporter.set_device_id(
        DeviceId::parse(scan).text());  // a bad scan costs nothing, not even a PIN prompt's answer
    // The PIN is read, and gone from the environment, before any child is started.
    ProvisionJob job{.scan = scan,
                     .order = OrderId::parse(options.order),
                     .bay = options.bay,
                     .token = uri,
                     .module_args = options.token.module_args,
                     .pin = options.token.read_pin(uri),
                     .preset = options.preset.empty() ? settings.device_preset : options.preset,
                     .algorithm = options.algorithm.empty() ? settings.device_algorithm
                                                            : parse_key_algorithm(options.algorithm),
                     .wants_preset = !options.preset.empty(),
                     .wants_algorithm = !options.algorithm.empty(),
                     .placeholder = options.placeholder || settings.placeholder,
                     .retry_pin = options.retry_pin,
                     .rework = options.rework,
                     .ca = ca};
    SystemClock clock;
    auto companions = std::make_unique<Companions>(home, settings, ca, job.order);
    if (renew_if_due(home, settings, *companions, clock))
      companions = std::make_unique<Companions>(home, settings, ca, job.order);
    Provisioning provisioning(home, settings, std::move(job), *companions, clock, reporter);
    Outcome outcome = provisioning.run();
    if (outcome == Outcome::queued) {
      reporter.queued(
          "the request waits for the CA's answer; then the same command again writes the certificate back");
      return 0;
    }
    bool is_new = outcome == Outcome::provisioned;
    reporter.passed(is_new ? "pass" : "already",
                    (is_new ? "" : "already provisioned: ") + provisioning.summary());
    return 0;
  } catch (const Error& error) {
    reporter.failed(error);
    throw;
  }
}

int provision_without_token(const ProvisionOptions& options) {
  Reporter reporter(options.json ? Reporter::Format::json : Reporter::Format::human);
  try {
    DeviceId device_id = DeviceId::parse(read_scan(options));
    reporter.set_device_id(device_id.text());
    std::string standing = provision_shared({.device_id = device_id,
                                             .credentials = options.shared,
                                             .out = options.out.empty() ? device_id.text() : options.out,
                                             .url = options.gateway});
    reporter.passed("pass", fmt::format("the gateway says {}", standing));
    return 0;
  } catch (const Error& error) {
    reporter.failed(error);
    throw;
  }
}

void add_provision(CLI::App& program, Action& action) {
  auto options = std::make_shared<ProvisionOptions>();
  CLI::App* command = add_command(
      program, "provision", "give one device its identity",
      "  fleetroot-station provision --home st --order PO-4711 --device-id 1FLEET0000000001 --token \\\n"
      "      'pkcs11:token=dev-1?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:dev-1.pin'\n"
      "  … --json                                   one JSON object a step\n"
      "  fleetroot-station provision --shared credentials.zip --device-id test-7     without a token\n"
      "  … --preset aktualizr --algorithm p256      a TLS key with certificate and an RSA-2048 Uptane key\n"
      "  … --ca media:queue                         queue the request for removable media (media --help)\n"
      "The same command again resumes after any failure, or says that all is done.\n");
  add_home_option(*command, options->home);
  CLI::Option* home = command->get_option("--home")->required(false);
  CLI::Option* order = command->add_option("--order", options->order, "the work order");
  CLI::Option* id = command->add_option("--device-id", options->device_id, "what the label says");
  CLI::Option* id_file = command->add_option("--device-id-file", options->device_id_file,
                                             "read the scan from a file, - for stdin");
  id->excludes(id_file);
  options->token.add_to(*command);
  CLI::Option* token = command->get_option("--token")->required(false);
  CLI::Option* shared = command->add_option("--shared", options->shared,
                                            "credentials.zip of a gateway, instead of --order and --token");
  shared->excludes(order)->excludes(token);
  command->add_option("--out", options->out, "with --shared: a directory for the identity (default: the ID)")
      ->needs(shared);
  command
      ->add_option("--gateway", options->gateway, "with --shared: its URL (default: what the archive says)")
      ->needs(shared);
  command->add_option("--ca", options->ca, "where the request goes (default: station.toml)")
      ->envname("FLEETROOT_CA");
  command->add_option("--preset", options->preset,
                      "key policy: fleetroot, aktualizr, lmp (default: station.toml)");
  command->add_option("--algorithm", options->algorithm,
                      "p256, p384, rsa2048, rsa3072, ed25519 (default: station.toml)");
  command->add_option("--bay", options->bay, "the bay's name, for the statement")->capture_default_str();
  command->add_flag("--placeholder", options->placeholder,
                    "a self-signed certificate until the real one arrives");
  command->add_flag("--rework", options->rework,
                    "the token was initialised anew, and the CA has authorised a rework of the device");
  command->add_flag("--retry-pin", options->retry_pin, "try the PIN again although it was wrong before");
  command->add_flag("--json", options->json, "one JSON object a line");
  command->callback([options, home, order, token, id, id_file, &action] {
    if (id->empty() && id_file->empty()) throw CLI::RequiredError("--device-id");
    if (!options->shared.empty()) {
      action = [options] { return provision_without_token(*options); };
      return;
    }
    for (const CLI::Option* needed : {home, order, token}) {
      if (needed->empty()) throw CLI::RequiredError(needed->get_name());
    }
    action = [options] { return provision(*options); };
  });
}

struct VerifyOptions {
  std::string home, device_id, preset, algorithm;
  std::vector<std::string> fleet_root, issuing;
  std::string gateway, gateway_root;
  TokenOptions token;
  bool json = false, retry_pin = false;
};

Trust read_trust(const VerifyOptions& options) {
  if (options.fleet_root.empty())
    return {Home(options.home).fleet_roots(), Home(options.home).issuing_certificates()};
  Trust trust;
  for (const std::string& path : options.fleet_root) {
    for (Certificate& root : cli::read_named_file(path, Certificate::list_from_pem))
      trust.fleet_roots.push_back(std::move(root));
  }
  for (const std::string& path : options.issuing) {
    for (Certificate& ca : cli::read_named_file(path, Certificate::list_from_pem))
      trust.issuing.push_back(std::move(ca));
  }
  return trust;
}

// The key policy by which the device was made, where this station made it; its default otherwise.
std::string preset_for(const VerifyOptions& options, const std::optional<DeviceId>& device_id) {
  if (!options.preset.empty()) return options.preset;
  if (options.home.empty()) return "fleetroot";
  std::optional<DeviceRecord> record;
  if (device_id) record = Journal(Home(options.home).file("journal.db")).device(*device_id);
  return record ? record->preset : Home(options.home).settings().device_preset;
}

// The device's first connection, with the key in its token. Never throws for what it finds.
Finding meet(const VerifyOptions& options, const DeviceToken& token, const pkcs11::KeySpec& identity,
             const Trust& trust) {
  try {
    std::optional<pkcs11::KeyPair> pair = pkcs11::find_key_pair(token.session(), identity.key.id);
    std::vector<Bytes> stored = pkcs11::read_certificates(token.session(), identity.certificate->id);
    if (!pair || stored.size() != 1) {
      return {"gateway", false, "there is no one key with one certificate to connect with"};
    }
    std::vector<Certificate> chain{Certificate::from_der(stored.front())};
    chain.insert(chain.end(), trust.issuing.begin(), trust.issuing.end());
    EvpPkeyPtr key = pkcs11::make_signing_evp(token.session(), *pair);
    DeviceId device_id = DeviceId::parse(chain.front().common_name().value_or(""));
    std::string standing = meet_gateway(
        {options.gateway, cli::read_named_file(options.gateway_root, Certificate::list_from_pem)}, chain,
        key.get(), device_id);
    return {"gateway", true, fmt::format("{} says {}", options.gateway, standing)};
  } catch (const Error& error) {
    return {"gateway", false, error.what()};
  }
}

int verify(const VerifyOptions& options) {
  std::optional<DeviceId> device_id;
  if (!options.device_id.empty()) device_id = DeviceId::parse(options.device_id);
  Trust trust = read_trust(options);
  pkcs11::KeyPolicy policy = pkcs11::KeyPolicy::preset(preset_for(options, device_id), KeyAlgorithm::p256);
  pkcs11::Uri uri = pkcs11::Uri::parse(options.token.uri);
  pkcs11::Pin pin = options.token.read_pin(uri);
  DeviceToken token(uri, options.token.module_args, device_id);
  if (options.home.empty()) {
    token.open_session(pin);
  } else {
    Journal journal(Home(options.home).file("journal.db"));
    token.open_session(pin, journal, options.retry_pin);
  }
  std::vector<Finding> findings =
      verify_device(token.session(), policy.identity(), device_id, trust, SystemClock().now());
  if (!options.gateway.empty()) findings.push_back(meet(options, token, policy.identity(), trust));
  bool passed =
      std::all_of(findings.begin(), findings.end(), [](const Finding& finding) { return finding.passed; });
  if (options.json) {
    Json checks = Json::array();
    for (const Finding& finding : findings) {
      checks.push_back({{"check", finding.check},
                        {"result", finding.passed ? "pass" : "fail"},
                        {"detail", finding.detail}});
    }
    cli::print_json({{"event", "verify"},
                     {"device_id", options.device_id},
                     {"result", passed ? "pass" : "fail"},
                     {"checks", checks}});
  } else {
    for (const Finding& finding : findings) {
      fmt::print("{}  {:<16} {}\n", finding.passed ? "ok  " : "FAIL", finding.check,
                 printable(finding.detail));
    }
    fmt::print("{} {}\n", passed ? "PASS" : "FAIL",
               printable(options.device_id.empty() ? token.info().describe() : options.device_id));
  }
  std::fflush(stdout);
  if (!passed) {
    throw Error(ErrorCode::certificate_rejected, "this device does not have the identity that it should have",
                "hold this device; the lines that say FAIL tell why");
  }
  return 0;
}

void add_verify(CLI::App& program, Action& action) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = add_command(
      program, "verify", "check a token that somebody has filled",
      "  fleetroot-station verify --home st --device-id 1FLEET0000000001 --token 'pkcs11:token=dev-1?…'\n"
      "  … --gateway https://gw.example.test:8443 --gateway-ca gateway-root.pem     its first connection, "
      "too\n"
      "  fleetroot-station verify --fleet-root fleet-root.pem --ca-certificate issuing-ca.pem --token "
      "'pkcs11:…'\n");
  CLI::Option* home = command->add_option("--home", options->home, "the station's home directory")
                          ->envname("FLEETROOT_STATION_HOME");
  CLI::Option* root =
      command->add_option("--fleet-root", options->fleet_root, "trust this root instead of the home's, PEM");
  command->add_option("--ca-certificate", options->issuing, "the issuing CA's certificate, PEM")->needs(root);
  command->add_option("--device-id", options->device_id, "the ID that the certificate must carry");
  command->add_option("--preset", options->preset, "key policy: fleetroot, aktualizr, lmp");
  CLI::Option* gateway =
      command->add_option("--gateway", options->gateway, "connect to this gateway as the device, https://…");
  CLI::Option* gateway_root =
      command->add_option("--gateway-ca", options->gateway_root, "the gateway's root, PEM, which is pinned");
  gateway->needs(gateway_root);
  gateway_root->needs(gateway);
  options->token.add_to(*command);
  command->add_flag("--retry-pin", options->retry_pin, "try the PIN again although it was wrong before");
  command->add_flag("--json", options->json, "one JSON object");
  command->callback([options, home, root, &action] {
    if (home->empty() && root->empty()) throw CLI::RequiredError("--home or --fleet-root");
    action = [options] { return verify(*options); };
  });
}

struct InspectOptions {
  TokenOptions token;
  bool json = false;
};

int inspect(const InspectOptions& options) {
  pkcs11::Uri uri = pkcs11::Uri::parse(options.token.uri);
  pkcs11::Pin pin = options.token.read_pin(uri);
  DeviceToken token(uri, options.token.module_args, {});
  token.open_session(pin);
  std::vector<pkcs11::TokenObject> objects = pkcs11::inventory(token.session());
  const pkcs11::TokenInfo& info = token.info();
  if (options.json) {
    Json list = Json::array();
    for (const pkcs11::TokenObject& object : objects) {
      list.push_back({{"class", name_of(object.identity.object_class)},
                      {"id", object.identity.id_hex},
                      {"label", object.identity.label},
                      {"sha256", object.identity.digest}});
    }
    cli::print_json({{"event", "inspect"},
                     {"token",
                      {{"label", info.label},
                       {"manufacturer", info.manufacturer},
                       {"model", info.model},
                       {"serial", info.serial},
                       {"firmware", info.firmware},
                       {"module_profile", token.profile().name}}},
                     {"objects", list}});
    return 0;
  }
  fmt::print("token {}\n  manufacturer {}, model {}, firmware {}, module profile {}\n",
             printable(info.describe()), printable(info.manufacturer), printable(info.model), info.firmware,
             token.profile().name);
  for (const pkcs11::TokenObject& object : objects) {
    fmt::print("  {:<12} ID {:<8} label {:<24} {}\n", name_of(object.identity.object_class),
               object.identity.id_hex, printable(object.identity.label),
               object.identity.digest.substr(0, 16));
  }
  fmt::print("{} objects\n", objects.size());
  return 0;
}

void add_inspect(CLI::App& program, Action& action) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = add_command(
      program, "inspect", "show what lies on a token, and change nothing",
      "  fleetroot-station inspect --token "
      "'pkcs11:token=dev-1?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:dev-1.pin'\n");
  options->token.add_to(*command);
  command->add_flag("--json", options->json, "one JSON object");
  command->callback([options, &action] { action = [options] { return inspect(*options); }; });
}

}  // namespace

void add_device_commands(CLI::App& program, Action& action) {
  add_provision(program, action);
  add_verify(program, action);
  add_inspect(program, action);
}

}  // namespace fleetroot::station
