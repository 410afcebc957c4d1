#include "device-gateway/commands.h"

#include <fmt/format.h>

#include "device-gateway/commands_cli.h"

namespace fleetroot::gateway {

void add_home_option(CLI::App& command, std::string& home) {
  command.add_option("--home", home, "the gateway's home directory")
      ->envname("FLEETROOT_GATEWAY_HOME")
      ->required();
}

void add_environment_option(CLI::App& command, std::string& environment) {
  command.add_option("--environment", environment, "one of the gateway's environments")->required();
}

EnvironmentName environment_of(const Home& home, const std::string& name) {
  return home.settings().environment(EnvironmentName::parse(name)).name;
}

int run_command_line(int argc, char** argv) {
  return cli::run(
      "fleetroot-gateway",
      "fleetroot-gateway: where devices connect; admits those whose certificate chains to a Fleet Root.",
      "  fleetroot-gateway init --home gw --name gw.example.test --environment production --environment "
      "test\n"
      "  fleetroot-gateway fleet-root add --home gw --environment production ca/fleet-root.pem\n"
      "  fleetroot-gateway serve --home gw --listen production=0.0.0.0:8443\n",
      argc, argv, [](CLI::App& program, Action& action) {
        add_setup_commands(program, action);
        add_trust_commands(program, action);
        add_device_commands(program, action);
        add_credential_commands(program, action);
      });
}

}  // namespace fleetroot::gateway
