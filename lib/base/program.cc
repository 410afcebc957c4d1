#include "lib/base/program.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "lib/base/printable.h"
#include "lib/base/process.h"

namespace fleetroot {

namespace {

// What a script reads must be whole: a full disk under stdout is an error, not a shorter list.
void flush_output() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    throw system_error(ErrorCode::io, "cannot write the output",
                       "check where the output goes, and its free space", errno);
  }
}

int report(std::string_view program, const Error& error) {
  std::fflush(stdout);
  print_error(program, error);
  return exit_code(error.code());
}

}  // namespace

int exit_code_of(std::string_view program, const std::function<int()>& body) {
  try {
    int exit_code = body();
    flush_output();
    return exit_code;
  } catch (const Error& error) {
    return report(program, error);
  } catch (const std::system_error& error) {
    return report(program,
                  {ErrorCode::io, "the system refused to read or write",
                   "check permissions and free space, then run the same command again", error.what()});
  } catch (const std::exception& error) {
    return report(program, {ErrorCode::internal, "this is a bug in Fleetroot",
                            "keep this message and report it", error.what()});
  }
}

// Not with fmt::print, which throws when stderr cannot be written: the exit code must still get out, and a
// server whose log is full goes on.
void print_error(std::string_view program, const Error& error) {
  std::string text = fmt::format("{}: error: {}\n", program, printable(error.what()));
  if (!error.hint().empty()) text += fmt::format("{}: hint: {}\n", program, printable(error.hint()));
  std::fputs(text.c_str(), stderr);
}

void print_remark(std::string_view program, std::string_view words) {
  std::fputs(fmt::format("{}: {}\n", program, printable(words)).c_str(), stderr);
}

void run_program(std::string_view program, const std::function<int()>& body) {
  harden_process();
  _exit(exit_code_of(program, body));
}

}  // namespace fleetroot
