// provision.
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "tool/line_input.h"
#include "tool/provision.h"
#include "tool/renew.h"
#include "tool/shared_provisioning.h"
#include "tool/token_options.h"

namespace fleetroot::station {
namespace {

struct ProvisionOptions {
  std::string home, device_id, device_id_file, order, bay = "1", ca, preset, algorithm;
  TokenOptions token;
  // Instead of home, order and token: shared credentials, and where the identity goes.
  std::string shared, out, gateway;
  bool json = false, placeholder = false, retry_pin = false, rework = false;
};

std::string read_from(std::istream& stream) {
  std::string text(kMaximumScan + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  return text;
}

std::string read_scan_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text = read_from(file);
  if (!file.is_open() || file.bad()) {
    throw system_error(ErrorCode::io, fmt::format("cannot read {}", path),
                       "check the path and its permissions", errno);
  }
  if (text.size() > kMaximumScan) {
    throw Error(ErrorCode::io, fmt::format("{} is larger than {} bytes", path, kMaximumScan),
                "name a file with one scan in it");
  }
  return text;
}

// A scan as a file or a pipe gives it: without the one line end that scanners append, and the mark that some
// editors put first. One from stdin that is too long is no ID.
std::string read_scan(const ProvisionOptions& options) {
  if (options.device_id_file.empty()) return options.device_id;
  std::string text =
      options.device_id_file == "-" ? read_from(std::cin) : read_scan_file(options.device_id_file);
  text = std::string(without_byte_order_mark(text));
  if (text.ends_with("\r\n")) return text.substr(0, text.size() - 2);
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

int provision(const ProvisionOptions& options) {
  Reporter reporter(options.json ? Reporter::Format::json : Reporter::Format::human);
  try {
    // First: a bad scan costs nothing, not even a PIN prompt's answer, and whatever fails names the device.
    std::string scan = read_scan(options);
    reporter.set_device_id(DeviceId::parse(scan).text());
    Home home(options.home);
    Settings settings = home.settings();
    pkcs11::Uri uri = pkcs11::Uri::parse(options.token.uri);
    std::string ca = choose_ca(home, settings, options.ca);
    // The PIN is read, and gone from the environment, before any child is started.
    ProvisionJob job{.scan = scan,
                     .order = OrderId::parse(options.order),
                     .bay = BayName::parse(options.bay),
                     .token = uri,
                     .module = options.token.module,
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
    Companions companions(home, settings, ca, job.order);
    renew_if_due(home, settings, companions, clock);
    Provisioning provisioning(home, settings, std::move(job), companions, clock, reporter);
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

// What is read for the device ID is printed.
bool is_scan_read_from_pin(const ProvisionOptions& options) {
  if (options.device_id_file.empty() || !options.token.pin_fd) return false;
  const char* path = options.device_id_file == "-" ? "/dev/stdin" : options.device_id_file.c_str();
  struct stat scan {
  }, pin{};
  return stat(path, &scan) == 0 && fstat(*options.token.pin_fd, &pin) == 0 && scan.st_dev == pin.st_dev &&
         scan.st_ino == pin.st_ino;
}

// With --shared. In the environment it is there for other commands.
void refuse_if_typed(const CLI::Option& option) {
  if (!option.empty() && std::getenv(option.get_envname().c_str()) == nullptr)
    throw CLI::ExcludesError("--shared", option.get_name());
}

}  // namespace

void add_provision_command(CLI::App& program, Action& action) {
  auto options = std::make_shared<ProvisionOptions>();
  CLI::App* command = add_command(
      program, "provision", "give one device its identity",
      "  fleetroot-station provision --home st --order PO-4711 --device-id 1FLEET0000000001 --token \\\n"
      "      'pkcs11:token=dev-1?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:dev-1.pin'\n"
      "  … --json                                   one JSON object a step\n"
      "  fleetroot-station provision --shared credentials.zip --device-id test-7     without a token\n"
      "  … --preset aktualizr --algorithm p256      a TLS key with certificate and an RSA-2048 Uptane key\n"
      "  … --ca media:queue                         queue the request for removable media (media --help)\n"
      "The same command again resumes after any failure, or says that all is done (after --rework:\n"
      "without it).\n");
  add_home_option(*command, options->home);
  CLI::Option* home = command->get_option("--home")->required(false);
  CLI::Option* order = command->add_option("--order", options->order, "the work order");
  CLI::Option* id = command->add_option("--device-id", options->device_id, "what the label says");
  id->type_name(cli::kScan);
  CLI::Option* id_file = command->add_option("--device-id-file", options->device_id_file,
                                             "read the scan from a file, - for stdin");
  id->excludes(id_file);
  options->token.add_to(*command);
  CLI::Option* token = command->get_option("--token")->required(false);
  CLI::Option* shared = command->add_option("--shared", options->shared,
                                            "credentials.zip of a gateway, instead of --order and --token");
  shared->excludes(order)->excludes(token);
  for (const char* of_token : {"--pin-fd", "--module-args", "--remote-module"})
    shared->excludes(command->get_option(of_token));
  command->add_option("--out", options->out, "with --shared: a directory for the identity (default: the ID)")
      ->needs(shared);
  command
      ->add_option("--gateway", options->gateway, "with --shared: its URL (default: what the archive says)")
      ->needs(shared);
  CLI::Option* ca = command->add_option("--ca", options->ca, "where the request goes (default: station.toml)")
                        ->envname("FLEETROOT_CA");
  command
      ->add_option("--preset", options->preset,
                   "key policy: fleetroot, aktualizr, lmp (default: station.toml)")
      ->excludes(shared);
  command
      ->add_option("--algorithm", options->algorithm,
                   "p256, p384, rsa2048, rsa3072, ed25519 (default: station.toml)")
      ->excludes(shared);
  command->add_option("--bay", options->bay, "the bay's name, for the statement")
      ->capture_default_str()
      ->excludes(shared);
  command
      ->add_flag("--placeholder", options->placeholder,
                 "a self-signed certificate until the real one arrives")
      ->excludes(shared);
  command
      ->add_flag("--rework", options->rework,
                 "the token was initialised anew, and the CA has authorised a rework of the device")
      ->excludes(shared);
  command->add_flag("--retry-pin", options->retry_pin, "try the PIN again although it was wrong before")
      ->excludes(shared);
  command->add_flag("--json", options->json, "one JSON object a line");
  command->callback([options, home, ca, order, token, id, id_file, &action] {
    if (id->empty() && id_file->empty()) throw CLI::RequiredError("--device-id");
    if (!options->shared.empty()) {
      refuse_if_typed(*home);
      refuse_if_typed(*ca);
      action = [options] { return provision_without_token(*options); };
      return;
    }
    for (const CLI::Option* needed : {home, order, token}) {
      if (needed->empty()) throw CLI::RequiredError(needed->get_name());
    }
    if (is_scan_read_from_pin(*options))
      throw CLI::ValidationError("--device-id-file", "the PIN comes from there (--pin-fd)");
    action = [options] { return provision(*options); };
  });
}

}  // namespace fleetroot::station
