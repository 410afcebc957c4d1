// Text from outside, for a terminal. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

namespace fleetroot {

// The text, on one line, with nothing in it that a terminal obeys: the name of a file on a stick, a token's
// label or what another program said may hold line ends and escape sequences that forge lines of ours.
// Control characters (C0, DEL, C1) and bytes that are no UTF-8 become \xNN; all else stays as it is.
std::string printable(std::string_view text);

}  // namespace fleetroot
