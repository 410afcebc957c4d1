#include "factory-ca/commands.h"

#include <fmt/format.h>

#include "factory-ca/commands_cli.h"
#include "factory-ca/distinguished_name.h"

namespace fleetroot::ca {

void add_home_option(CLI::App& command, std::string& home) {
  command.add_option("--home", home, "the CA's home directory")->envname("FLEETROOT_CA_HOME")->required();
}

void refuse_unless_plain(std::string_view what, std::string_view text) {
  if (is_plain_text(text)) return;
  throw Error(ErrorCode::usage, fmt::format("{} is no plain text", what),
              "write it in one line of UTF-8, without control characters");
}

void add_dry_run(CLI::App& command, bool& dry_run) {
  command.add_flag("--dry-run", dry_run, "say what would happen, and change nothing");
}

int run_command_line(int argc, char** argv) {
  return cli::run(
      "fleetroot-ca", "fleetroot-ca: the factory CA; signs what the work orders allow, and remembers it.",
      "  fleetroot-ca init --home ca --name \"Acme Factory 1\"\n"
      "  fleetroot-ca order create --home ca --id PO-4711 --devices order.csv\n"
      "  fleetroot-ca station enroll --home ca --name st-01 --request st/station.csr --out st-01.pem\n",
      argc, argv, [](CLI::App& program, Action& action) {
        add_setup_commands(program, action);
        add_station_commands(program, action);
        add_order_commands(program, action);
        add_certificate_commands(program, action);
        add_later_life_commands(program, action);
        add_media_commands(program, action);
        add_serve_commands(program, action);
        add_crl_commands(program, action);
        add_ledger_commands(program, action);
      });
}

}  // namespace fleetroot::ca
