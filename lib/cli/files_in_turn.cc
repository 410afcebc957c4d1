#include "lib/cli/files_in_turn.h"

#include <fmt/format.h>

#include "lib/base/printable.h"
#include "lib/cli/json_line.h"

namespace fleetroot::cli {
namespace {

namespace fs = std::filesystem;

void report(const fs::path& file, const Error& error, bool json) {
  if (json) {
    print_json(
        {{"event", "bundle"}, {"file", file.string()}, {"result", "refused"}, {"error", error_json(error)}});
  } else {
    fmt::print("{}: refused: {}\n", printable(file.string()), printable(error.what()));
  }
}

// Many an error speaks of "it"; the last one of a command stands alone on stderr.
Error naming(const fs::path& file, const Error& error) {
  if (error.message().find(file.string()) != std::string::npos) return error;
  return {error.code(), fmt::format("{}: {}", file.string(), error.message()), error.hint(), error.cause()};
}

}  // namespace

void FilesInTurn::take(const fs::path& file, const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    report(file, error, json_);
    if (!first_) first_ = naming(file, error);
  }
  std::fflush(stdout);
}

void FilesInTurn::finish() {
  if (first_) throw *std::move(first_);
}

}  // namespace fleetroot::cli
