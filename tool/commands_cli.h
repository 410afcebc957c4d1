// For the commands_*.cc files: each registers its subcommands, whose bodies set the exit code.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace fleetroot::station {

// What the chosen subcommand will do, once the whole command line has been parsed.
using Action = std::function<int()>;

// A subcommand whose help opens with examples. `action` is set when it is chosen.
CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& summary,
                      const std::string& examples);
// --home, or FLEETROOT_STATION_HOME.
void add_home_option(CLI::App& command, std::string& home);

void add_setup_commands(CLI::App& program, Action& action);
void add_device_commands(CLI::App& program, Action& action);

}  // namespace fleetroot::station
