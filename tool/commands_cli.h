// For the commands_*.cc files: each registers its subcommands, whose bodies set the exit code.
#pragma once

#include <string>
#include <vector>

#include "lib/cli/command_line.h"
#include "tool/home.h"

namespace fleetroot::station {

using cli::Action;
using cli::add_command;
using cli::add_group;

// --home, or FLEETROOT_STATION_HOME.
void add_home_option(CLI::App& command, std::string& home);

// Of all the files, in their order, PEM. Error as read_named_file.
std::vector<Certificate> read_certificates(const std::vector<std::string>& paths);

// Where requests go: `option`, or else what station.toml says. Error(usage) for the one, Error(configuration)
// for the other.
std::string choose_ca(const Home& home, const Settings& settings, const std::string& option);

void add_setup_commands(CLI::App& program, Action& action);
void add_provision_command(CLI::App& program, Action& action);
void add_verify_command(CLI::App& program, Action& action);
void add_inspect_command(CLI::App& program, Action& action);
void add_line_command(CLI::App& program, Action& action);
void add_media_commands(CLI::App& program, Action& action);

}  // namespace fleetroot::station
