#include "lib/x509/device_id.h"

#include <fmt/format.h>

#include "lib/base/error.h"

namespace fleetroot {
namespace {

constexpr std::size_t kMaximumLength = 64;

bool is_alphanumeric(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

[[noreturn]] void refuse(std::string why) {
  throw Error(ErrorCode::invalid_device_id, "the device ID " + why,
              "scan the label again; an ID is 1 to 64 letters, digits or . _ : + @ -, beginning with a "
              "letter or digit");
}

}  // namespace

DeviceId DeviceId::parse(std::string_view text) {
  if (text.empty()) refuse("is empty");
  if (text.size() > kMaximumLength) {
    refuse(fmt::format("has {} characters, {} are allowed", text.size(), kMaximumLength));
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    bool allowed =
        is_alphanumeric(c) || (i > 0 && std::string_view("._:+@-").find(c) != std::string_view::npos);
    if (!allowed) {
      refuse(fmt::format("has a character that is not allowed at position {} (0x{:02x})", i + 1,
                         static_cast<unsigned char>(c)));
    }
  }
  return DeviceId(std::string(text));
}

}  // namespace fleetroot
