// What `line` reads: one device a line, as a scanner sends it or as JSON (docs/formats.md).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lib/base/names.h"
#include "lib/x509/device_id.h"
#include "tool/bay.h"

namespace fleetroot::station {

// Bytes in a line.
inline constexpr std::size_t kMaximumScan = 4096;

// One line, understood; what it does not say, the line's own settings say.
struct LineJob {
  DeviceId device_id;
  std::optional<OrderId> order = {};
  std::optional<BayName> bay = {};
  std::optional<TokenTemplate> token = {};
};

// What editors of Windows put at the very start of a file is no part of what was scanned.
std::string_view without_byte_order_mark(std::string_view text);

// A line without its "\n"; "\r" before it is dropped too. Nothing for an empty line, or one of blanks.
// Error(invalid_device_id) for a scan, Error(usage) for JSON that is not as documented, both about this line
// alone; the device that it names is in `named` then, where there is one.
std::optional<LineJob> parse_scan(std::string_view line, std::optional<DeviceId>& named);

}  // namespace fleetroot::station
