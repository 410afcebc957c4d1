#include "lib/base/names.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/base/error.h"

namespace fleetroot {
namespace {

bool is_alphanumeric(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

}  // namespace

std::string parse_name(std::string_view kind, std::string_view text) {
  bool good = !text.empty() && text.size() <= 64 && is_alphanumeric(text.front()) &&
              std::all_of(text.begin(), text.end(),
                          [](char c) { return is_alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
  if (!good) {
    throw Error(
        ErrorCode::usage, fmt::format("the {} name is not valid", kind),
        "use 1 to 64 letters, digits, dots, dashes and underscores, beginning with a letter or digit");
  }
  return std::string(text);
}

}  // namespace fleetroot
