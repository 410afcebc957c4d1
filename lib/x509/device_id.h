// A device ID: what the label says, what the certificate's CN says, what the fleet back end calls the device.
#pragma once

#include <compare>
#include <string>
#include <string_view>

namespace fleetroot {

// 1 to 64 characters (ub-common-name, RFC 5280 appendix A.1) of A-Z a-z 0-9 . _ : + @ -, beginning with a
// letter or digit: nothing that a DN, a path, a URL, a CSV file or a shell could take for something else.
class DeviceId {
 public:
  // Throws Error(invalid_device_id). One trailing "\n" or "\r\n" is the scanner's and must be stripped
  // before.
  static DeviceId parse(std::string_view text);
  const std::string& text() const { return text_; }
  auto operator<=>(const DeviceId&) const = default;

 private:
  explicit DeviceId(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

}  // namespace fleetroot
