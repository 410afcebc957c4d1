#include "lib/base/program.h"
#include "tool/commands.h"

int main(int argc, char** argv) {
  return fleetroot::run_program("fleetroot-station",
                                [&] { return fleetroot::station::run_command_line(argc, argv); });
}
