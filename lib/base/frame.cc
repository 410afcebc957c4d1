#include "lib/base/frame.h"

#include <array>
#include <cstring>

#include "lib/base/process.h"

namespace fleetroot {

bool write_frame(int fd, std::uint8_t tag, BytesView body) {
  Bytes frame(5 + body.size());
  frame[0] = tag;
  auto size = static_cast<std::uint32_t>(body.size());
  std::memcpy(&frame[1], &size, sizeof size);
  std::copy(body.begin(), body.end(), frame.begin() + 5);
  return write_fully(fd, frame);
}

std::optional<Frame> read_frame(int fd, std::chrono::steady_clock::time_point deadline) {
  std::array<std::uint8_t, 5> header{};
  if (read_fully(fd, header, deadline) != ReadResult::complete) return std::nullopt;
  std::uint32_t size = 0;
  std::memcpy(&size, &header[1], sizeof size);
  if (size > kMaximumFrame) return std::nullopt;
  Frame frame{header[0], Bytes(size)};
  if (read_fully(fd, frame.body, deadline) != ReadResult::complete) return std::nullopt;
  return frame;
}

}  // namespace fleetroot
