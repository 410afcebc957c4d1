#include "lib/cli/files_in_turn.h"

#include <fmt/format.h>

#include "lib/base/printable.h"
#include "lib/cli/json_line.h"
#include "lib/cli/named_file.h"

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

}  // namespace

void FilesInTurn::take(const fs::path& file, const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    report(file, error, json_);
    bool is_named = error.message().find(file.string()) != std::string::npos;
    if (!first_) first_ = is_named ? error : naming(file, error);
  }
  std::fflush(stdout);
}

void FilesInTurn::finish() {
  if (first_) throw *std::move(first_);
}

}  // namespace fleetroot::cli
