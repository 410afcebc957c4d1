#include "lib/cmp/message.h"

#include <fmt/format.h>

#include "lib/base/error.h"
#include "lib/base/process.h"
#include "lib/cmp/wire.h"

namespace fleetroot::cmp {
namespace {

Error too_long() {
  return kNotAMessage.error(fmt::format("it is longer than {} bytes", kMaximumMessageSize));
}

}  // namespace

std::optional<Bytes> read_message(int fd, std::chrono::steady_clock::time_point deadline) {
  Bytes message;
  // Appends `size` bytes from the stream; false at its end.
  auto read_on = [&](std::size_t size) {
    std::size_t begin = message.size();
    message.resize(begin + size);
    switch (read_fully(fd, std::span(message).subspan(begin), deadline)) {
      case ReadResult::complete:
        return true;
      case ReadResult::end_of_file:
        return false;
      case ReadResult::timeout:
        throw Error(ErrorCode::ca_unreachable, "no CMP message arrived in time",
                    "check that the other side still runs, then run the same command again");
      case ReadResult::failed:
        break;
    }
    throw Error(ErrorCode::ca_unreachable, "the connection failed while a CMP message was read",
                "check that the other side still runs, then run the same command again");
  };
  auto read_rest = [&](std::size_t size) {
    if (!read_on(size)) throw kNotAMessage.error("it stops in the middle");
  };

  if (!read_on(1)) return std::nullopt;
  if (message[0] != der::kSequence) throw kNotAMessage.error("it does not begin with a sequence");
  read_rest(1);
  std::size_t size = message[1];
  if (size >= 0x80) {
    std::size_t octets = size - 0x80;
    if (octets == 0) throw kNotAMessage.error("a length in it is not DER");
    if (octets > 2) throw too_long();
    read_rest(octets);
    size = 0;
    for (std::size_t i = 0; i < octets; ++i) size = size << 8 | message[2 + i];
  }
  if (message.size() + size > kMaximumMessageSize) throw too_long();
  read_rest(size);
  return message;
}

}  // namespace fleetroot::cmp
