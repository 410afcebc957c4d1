// For the commands_*.cc files: each registers its subcommands, whose bodies set the exit code.
#pragma once

#include <string>

#include "device-gateway/home.h"
#include "lib/cli/command_line.h"
#include "lib/cli/json_line.h"

namespace fleetroot::gateway {

using cli::Action;
using cli::add_command;
using cli::add_group;
using cli::print_json;

// --home, or FLEETROOT_GATEWAY_HOME.
void add_home_option(CLI::App& command, std::string& home);
void add_environment_option(CLI::App& command, std::string& environment);
// One of this gateway's. Error(usage).
EnvironmentName environment_of(const Home& home, const std::string& name);

void add_setup_commands(CLI::App& program, Action& action);
void add_trust_commands(CLI::App& program, Action& action);
void add_device_commands(CLI::App& program, Action& action);
void add_credential_commands(CLI::App& program, Action& action);

}  // namespace fleetroot::gateway
