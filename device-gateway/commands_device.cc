// device list, show, block
#include <fmt/format.h>

#include "device-gateway/commands_cli.h"

namespace fleetroot::gateway {
namespace {

struct DeviceOptions {
  std::string home, environment, device_id;
  bool json = false, lift = false;
};

nlohmann::ordered_json to_json(const EnvironmentName& environment, const DeviceRecord& device) {
  return {{"environment", environment.text()}, {"device_id", device.id.text()},
          {"state", name_of(device.state)},    {"origin", name_of(device.origin)},
          {"public_key", device.key},          {"certificate", device.certificate},
          {"joined_at", device.joined_at}};
}

[[noreturn]] void refuse_unknown(const DeviceOptions& options) {
  throw Error(ErrorCode::bad_request,
              fmt::format("{} knows no device {}", options.environment, options.device_id),
              "fleetroot-gateway device list shows those that have connected");
}

int list(const DeviceOptions& options) {
  Home home(options.home);
  EnvironmentName environment = environment_of(home, options.environment);
  Registry registry(home.registry());
  registry.each_device(environment, [&](const DeviceRecord& device) {
    if (options.json) {
      print_json(to_json(environment, device));
    } else {
      fmt::print("{:<32} {:<9} {:<12} {}\n", device.id.text(), name_of(device.state), name_of(device.origin),
                 device.joined_at);
    }
  });
  return 0;
}

int show(const DeviceOptions& options) {
  Home home(options.home);
  EnvironmentName environment = environment_of(home, options.environment);
  std::optional<DeviceRecord> device =
      Registry(home.registry()).device(environment, DeviceId::parse(options.device_id));
  if (!device) refuse_unknown(options);
  if (options.json) {
    print_json(to_json(environment, *device));
  } else {
    nlohmann::ordered_json description = to_json(environment, *device);
    for (const auto& [name, value] : description.items()) {
      fmt::print("{:<12} {}\n", name, value.get<std::string>());
    }
  }
  return 0;
}

int block(const DeviceOptions& options) {
  Home home(options.home);
  EnvironmentName environment = environment_of(home, options.environment);
  Registry registry(home.registry());
  WriteTransaction transaction = registry.write();
  bool is_known = registry.set_state(environment, DeviceId::parse(options.device_id),
                                     options.lift ? DeviceState::admitted : DeviceState::blocked);
  if (!is_known) refuse_unknown(options);
  transaction.commit();
  fmt::print("{} is {}\n", options.device_id, options.lift ? "admitted again" : "blocked");
  return 0;
}

template <typename Run>
void add(CLI::App& group, Action& action, const char* name, const char* summary, const char* examples,
         bool takes_id, bool reports, Run run) {
  auto options = std::make_shared<DeviceOptions>();
  CLI::App* command = add_command(group, name, summary, examples);
  add_home_option(*command, options->home);
  add_environment_option(*command, options->environment);
  if (takes_id) command->add_option("--device-id", options->device_id, "the device")->required();
  if (reports) {
    command->add_flag("--json", options->json, "one JSON object a device");
  } else {
    command->add_flag("--lift", options->lift, "take the block away");
  }
  command->callback([options, run, &action] { action = [options, run] { return run(*options); }; });
}

}  // namespace

void add_device_commands(CLI::App& program, Action& action) {
  CLI::App* device = add_group(program, "device", "devices that have joined",
                               "  fleetroot-gateway device list --home gw --environment production --json\n");
  add(*device, action, "list", "show the devices",
      "  fleetroot-gateway device list --home gw --environment production\n"
      "  fleetroot-gateway device list --home gw --environment production --json\n",
      false, true, list);
  add(*device, action, "show", "show one device",
      "  fleetroot-gateway device show --home gw --environment production --device-id 1FLEET0000000001\n",
      true, true, show);
  add(*device, action, "block", "let a device in no more",
      "  fleetroot-gateway device block --home gw --environment production --device-id 1FLEET0000000001\n"
      "  … --lift                                  let it in again\n",
      true, false, block);
}

}  // namespace fleetroot::gateway
