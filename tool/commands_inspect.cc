// inspect: what lies on a token.
#include <fmt/format.h>

#include "lib/base/printable.h"
#include "lib/cli/json_line.h"
#include "pkcs11/objects.h"
#include "tool/device_token.h"
#include "tool/token_options.h"
#include "tool/watchdog.h"

namespace fleetroot::station {
namespace {

using Json = nlohmann::ordered_json;

struct InspectOptions {
  TokenOptions token;
  bool json = false;
};

void print_as_json(const DeviceToken& token, const std::vector<pkcs11::TokenObject>& objects) {
  Json list = Json::array();
  for (const pkcs11::TokenObject& object : objects) {
    list.push_back({{"class", name_of(object.identity.object_class)},
                    {"id", object.identity.id_hex},
                    {"label", object.identity.label},
                    {"sha256", object.identity.digest}});
  }
  const pkcs11::TokenInfo& info = token.info();
  cli::print_json({{"event", "inspect"},
                   {"token",
                    {{"label", info.label},
                     {"manufacturer", info.manufacturer},
                     {"model", info.model},
                     {"serial", info.serial},
                     {"firmware", info.firmware},
                     {"module_profile", token.profile().name}}},
                   {"objects", list}});
}

void print(const DeviceToken& token, const std::vector<pkcs11::TokenObject>& objects) {
  const pkcs11::TokenInfo& info = token.info();
  fmt::print("token {}\n  manufacturer {}, model {}, firmware {}, module profile {}\n",
             printable(info.describe()), printable(info.manufacturer), printable(info.model), info.firmware,
             token.profile().name);
  for (const pkcs11::TokenObject& object : objects) {
    fmt::print("  {:<12} ID {:<8} label {:<24} {}\n", name_of(object.identity.object_class),
               object.identity.id_hex, printable(object.identity.label),
               object.identity.digest.substr(0, 16));
  }
  fmt::print("{} objects\n", objects.size());
}

void inspect(const InspectOptions& options, const Json& event) {
  pkcs11::Uri uri = pkcs11::Uri::parse(options.token.uri);
  pkcs11::Pin pin = options.token.read_pin(uri);
  TokenWatch watch(kTokenTimeout, [&](const Error& error) {
    if (options.json) cli::print_failure(event, error);
  });
  DeviceToken token(uri, options.token.module, {});
  token.open_session(pin);
  std::vector<pkcs11::TokenObject> objects = pkcs11::inventory(token.session());
  if (options.json) {
    print_as_json(token, objects);
  } else {
    print(token, objects);
  }
}

}  // namespace

void add_inspect_command(CLI::App& program, Action& action) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = add_command(
      program, "inspect", "show what lies on a token, and change nothing",
      "  fleetroot-station inspect --token "
      "'pkcs11:token=dev-1?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:dev-1.pin'\n");
  options->token.add_to(*command);
  command->add_flag("--json", options->json, "one JSON object");
  command->callback([options, &action] {
    action = [options] {
      Json event{{"event", "inspect"}};
      cli::or_json_failure(options->json, event, [&] { inspect(*options, event); });
      return 0;
    };
  });
}

}  // namespace fleetroot::station
