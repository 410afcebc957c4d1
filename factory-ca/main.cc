#include "factory-ca/commands.h"
#include "lib/base/program.h"

int main(int argc, char** argv) {
  return fleetroot::run_program("fleetroot-ca", [&] { return fleetroot::ca::run_command_line(argc, argv); });
}
