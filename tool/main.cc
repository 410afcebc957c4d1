#include "lib/base/program.h"
#include "lib/x509/openssl.h"
#include "tool/commands.h"

int main(int argc, char** argv) {
  fleetroot::begin_openssl();
  fleetroot::run_program("fleetroot-station",
                         [&] { return fleetroot::station::run_command_line(argc, argv); });
}
