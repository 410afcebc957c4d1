// The command line of fleetroot-ca. CLI11 stays in the commands_*.cc files.
#pragma once

namespace fleetroot::ca {

// Parses, runs, and returns the exit code; throws Error.
int run_command_line(int argc, char** argv);

}  // namespace fleetroot::ca
