#include "lib/base/program.h"

#include <fmt/format.h>

#include <cstdio>
#include <new>

#include "lib/base/process.h"

namespace fleetroot {

void print_error(std::string_view program, const Error& error) {
  fmt::print(stderr, "{}: error: {}\n", program, error.what());
  if (!error.hint().empty()) fmt::print(stderr, "{}: hint: {}\n", program, error.hint());
}

int run_program(std::string_view program, const std::function<int()>& body) {
  harden_process();
  try {
    return body();
  } catch (const Error& error) {
    print_error(program, error);
    return exit_code(error.code());
  } catch (const std::exception& error) {
    Error bug(ErrorCode::internal, "this is a bug in Fleetroot", "keep this message and report it",
              error.what());
    print_error(program, bug);
    return exit_code(bug.code());
  }
}

}  // namespace fleetroot
