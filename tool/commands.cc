#include "tool/commands.h"

#include "lib/cli/named_file.h"
#include "tool/ca_client.h"
#include "tool/commands_cli.h"

namespace fleetroot::station {

void add_home_option(CLI::App& command, std::string& home) {
  command.add_option("--home", home, "the station's home directory")
      ->envname("FLEETROOT_STATION_HOME")
      ->required();
}

std::vector<Certificate> read_certificates(const std::vector<std::string>& paths) {
  return cli::read_named_files(paths, Certificate::list_from_pem);
}

std::string choose_ca(const Home& home, const Settings& settings, const std::string& option) {
  if (option.empty()) return configured_ca(home, settings);
  refuse_unless_ca_url(option);
  return option;
}

int run_command_line(int argc, char** argv) {
  return cli::run("fleetroot-station",
                  "fleetroot-station: gives devices their identity, in their own hardware.",
                  "  fleetroot-station init --home st --name st-01\n"
                  "  fleetroot-station provision --home st --order PO-4711 --device-id 1FLEET0000000001 "
                  "--token 'pkcs11:…'\n"
                  "  fleetroot-station verify --home st --device-id 1FLEET0000000001 --token 'pkcs11:…'\n",
                  argc, argv, [](CLI::App& program, Action& action) {
                    add_setup_commands(program, action);
                    add_provision_command(program, action);
                    add_verify_command(program, action);
                    add_inspect_command(program, action);
                    add_line_command(program, action);
                    add_media_commands(program, action);
                  });
}

}  // namespace fleetroot::station
