// What two of our processes say to each other: one byte of meaning, the length of the body as four bytes of
// this machine, the body.
#pragma once

#include <chrono>
#include <optional>

#include "lib/base/bytes.h"

namespace fleetroot {

inline constexpr std::uint32_t kMaximumFrame = 256 * 1024;

struct Frame {
  std::uint8_t tag = 0;
  Bytes body;
};

// False if the other side is gone.
bool write_frame(int fd, std::uint8_t tag, BytesView body);
// Nothing at the end of the stream, after the deadline, when the stream breaks, or beyond kMaximumFrame.
std::optional<Frame> read_frame(int fd, std::chrono::steady_clock::time_point deadline);

}  // namespace fleetroot
