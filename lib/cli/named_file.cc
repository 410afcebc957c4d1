#include "lib/cli/named_file.h"

#include <fmt/format.h>

namespace fleetroot::cli {

Error naming(const std::filesystem::path& file, const Error& error) {
  return {error.code(), fmt::format("{}: {}", file.string(), error.message()), error.hint(), error.cause()};
}

}  // namespace fleetroot::cli
