#include "device-gateway/commands.h"
#include "lib/base/program.h"
#include "lib/x509/openssl.h"

int main(int argc, char** argv) {
  fleetroot::begin_openssl();
  fleetroot::run_program("fleetroot-gateway",
                         [&] { return fleetroot::gateway::run_command_line(argc, argv); });
}
