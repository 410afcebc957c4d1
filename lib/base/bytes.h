// Byte strings and their two spellings.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fleetroot {

using Bytes = std::vector<std::uint8_t>;
using BytesView = std::span<const std::uint8_t>;

BytesView as_bytes(std::string_view text);
std::string_view as_text(BytesView bytes);

// Lower-case, two digits a byte.
std::string to_hex(BytesView bytes);
// Nothing if the text is not an even number of hexadecimal digits.
std::optional<Bytes> from_hex(std::string_view text);

bool equal(BytesView a, BytesView b);

}  // namespace fleetroot
