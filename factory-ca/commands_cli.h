// For the commands_*.cc files: each registers its subcommands, whose bodies set the exit code.
#pragma once

#include <string>

#include "lib/cli/command_line.h"
#include "lib/cli/json_line.h"

namespace fleetroot::ca {

using cli::Action;
using cli::add_command;
using cli::add_group;
using cli::print_json;

// --home, or FLEETROOT_CA_HOME.
void add_home_option(CLI::App& command, std::string& home);

void add_setup_commands(CLI::App& program, Action& action);
void add_station_commands(CLI::App& program, Action& action);
void add_order_commands(CLI::App& program, Action& action);
void add_certificate_commands(CLI::App& program, Action& action);
void add_serve_commands(CLI::App& program, Action& action);
void add_crl_commands(CLI::App& program, Action& action);
void add_ledger_commands(CLI::App& program, Action& action);
void add_later_life_commands(CLI::App& program, Action& action);
// One of `cert`.
void add_revoke_command(CLI::App& certificates, Action& action);
void add_media_commands(CLI::App& program, Action& action);

}  // namespace fleetroot::ca
