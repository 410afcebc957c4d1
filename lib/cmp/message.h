// One PKIMessage on a stream: where it ends, before anybody looks into it (wire.h).
#pragma once

#include <chrono>
#include <optional>

#include "lib/base/bytes.h"

namespace fleetroot::cmp {

// A p10cr is about 1 KiB with its certificate, an RSA-3072 one 3 KiB; nothing honest comes near.
inline constexpr std::size_t kMaximumMessageSize = 64 * 1024;

// Reads one DER-encoded message from a stream. Nothing at a clean end of file before its first byte;
// Error(protocol) if it is too long, is no SEQUENCE, or stops in the middle; Error(ca_unreachable) after the
// deadline.
std::optional<Bytes> read_message(int fd, std::chrono::steady_clock::time_point deadline);

}  // namespace fleetroot::cmp
