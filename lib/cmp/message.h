// What of a PKIMessage (RFC 4210 section 5.1) must be known before OpenSSL's CMP may look at it: who says to
// have sent it, and where it ends on a stream.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "lib/base/bytes.h"

namespace fleetroot::cmp {

// A p10cr is about 1 KiB with its certificate, an RSA-3072 one 3 KiB; nothing honest comes near.
inline constexpr std::size_t kMaximumMessageSize = 64 * 1024;

struct Header {
  Bytes sender_key_id;   // empty where absent
  Bytes transaction_id;  // empty where absent
};

// Error(protocol) if this is not exactly one PKIMessage's outer shape.
Header parse_header(BytesView message);

// Reads one DER-encoded message from a stream. Nothing at a clean end of file before its first byte;
// Error(protocol) if it is too long, is no SEQUENCE, or stops in the middle; Error(ca_unreachable) after the
// deadline.
std::optional<Bytes> read_message(int fd, std::chrono::steady_clock::time_point deadline);

}  // namespace fleetroot::cmp
