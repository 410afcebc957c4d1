// The command line of fleetroot-gateway. CLI11 stays in the commands_*.cc files.
#pragma once

namespace fleetroot::gateway {

// Parses, runs, and returns the exit code; throws Error.
int run_command_line(int argc, char** argv);

}  // namespace fleetroot::gateway
