// JSON from somebody who need not wish us well: looked at as it is read, before anything is built of it.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string_view>

namespace fleetroot {

// Of one document. A full bundle of ours has some 80,000 values (lib/media/request_bundle.cc); and a member
// is looked for among all that its object has.
inline constexpr std::size_t kMaximumJsonDepth = 32;
inline constexpr std::size_t kMaximumJsonMembers = 1000;    // of one object
inline constexpr std::size_t kMaximumJsonValues = 100'000;  // in all

// Discarded if it is not JSON in UTF-8, without a byte order mark, from its first byte to its last.
// Error(bad_request) if it is beyond these bounds, or an object has a name twice (RFC 7493 section 2.3).
nlohmann::ordered_json parse_strict_json(std::string_view text);

}  // namespace fleetroot
