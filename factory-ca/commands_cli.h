// For the commands_*.cc files: each registers its subcommands, whose bodies set the exit code.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

namespace fleetroot::ca {

// What the chosen subcommand will do, once the whole command line has been parsed.
using Action = std::function<int()>;

// A subcommand whose help opens with examples.
CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& summary,
                      const std::string& examples);
// One that only has subcommands of its own.
CLI::App* add_group(CLI::App& parent, const std::string& name, const std::string& summary,
                    const std::string& examples);
// --home, or FLEETROOT_CA_HOME.
void add_home_option(CLI::App& command, std::string& home);
// One JSON object a line, with the schema's name in it.
void print_json(nlohmann::ordered_json object);

void add_setup_commands(CLI::App& program, Action& action);
void add_station_commands(CLI::App& program, Action& action);
void add_order_commands(CLI::App& program, Action& action);
void add_certificate_commands(CLI::App& program, Action& action);

}  // namespace fleetroot::ca
