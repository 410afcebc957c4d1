#include "lib/cmp/message.h"

#include <fmt/format.h>

#include "lib/base/error.h"
#include "lib/base/process.h"

namespace fleetroot::cmp {
namespace {

constexpr std::uint8_t kOctetString = 0x04;
constexpr std::uint8_t kSequence = 0x30;
constexpr std::uint8_t kTagNumberMask = 0x1f;
constexpr std::uint8_t kFirstContextTag = 0xa0;  // [0], constructed
constexpr std::uint8_t kLastBodyTag = 0xba;      // pollRep [26], the last of RFC 4210 section 5.1.2
constexpr std::uint8_t kSenderKeyId = 0xa2;
constexpr std::uint8_t kTransactionId = 0xa4;

Error not_a_message(std::string_view why) {
  return {ErrorCode::protocol, fmt::format("this is not a CMP message: {}", why),
          "check that the other side speaks CMP and that nothing in between changes its bytes"};
}

Error too_long() {
  return not_a_message(fmt::format("it is longer than {} bytes", kMaximumMessageSize));
}

struct Element {
  std::uint8_t tag;
  BytesView content;
};

// Takes one element (X.690 section 8.1, with the restrictions of 10.1) off the front of `rest`.
Element take_element(BytesView& rest) {
  auto take = [&](std::size_t size) {
    if (size > rest.size()) throw not_a_message("it stops in the middle");
    BytesView taken = rest.first(size);
    rest = rest.subspan(size);
    return taken;
  };
  std::uint8_t tag = take(1)[0];
  if ((tag & kTagNumberMask) == kTagNumberMask) throw not_a_message("it has a tag that CMP does not know");
  std::size_t size = take(1)[0];
  if (size >= 0x80) {
    BytesView octets = take(size - 0x80);
    if (octets.empty() || octets.size() > 3 || octets[0] == 0)
      throw not_a_message("a length in it is not DER");
    size = 0;
    for (std::uint8_t octet : octets) size = size << 8 | octet;
    if (size < 0x80) throw not_a_message("a length in it is not DER");
  }
  return {tag, take(size)};
}

Bytes octet_string_in(BytesView explicitly_tagged) {
  Element string = take_element(explicitly_tagged);
  if (string.tag != kOctetString || !explicitly_tagged.empty()) {
    throw not_a_message("an identifier in its header is no octet string");
  }
  return {string.content.begin(), string.content.end()};
}

}  // namespace

Header parse_header(BytesView message) {
  if (message.size() > kMaximumMessageSize) throw too_long();
  Element whole = take_element(message);
  if (whole.tag != kSequence) throw not_a_message("it does not begin with a sequence");
  if (!message.empty()) throw not_a_message("bytes follow it");

  BytesView parts = whole.content;
  Element header = take_element(parts);
  if (header.tag != kSequence) throw not_a_message("it does not begin with a header");
  Element body = take_element(parts);
  if (body.tag < kFirstContextTag || body.tag > kLastBodyTag) throw not_a_message("it has no body");
  while (!parts.empty()) take_element(parts);

  BytesView fields = header.content;
  for (int positional = 0; positional < 3; ++positional) take_element(fields);  // pvno, sender, recipient
  Header result;
  std::uint8_t last_tag = 0;
  while (!fields.empty()) {
    Element field = take_element(fields);
    // A field given twice could be read one way here and another way by OpenSSL.
    if (field.tag <= last_tag) throw not_a_message("the fields of its header are out of order");
    last_tag = field.tag;
    if (field.tag == kSenderKeyId) result.sender_key_id = octet_string_in(field.content);
    if (field.tag == kTransactionId) result.transaction_id = octet_string_in(field.content);
  }
  return result;
}

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
    if (!read_on(size)) throw not_a_message("it stops in the middle");
  };

  if (!read_on(1)) return std::nullopt;
  if (message[0] != kSequence) throw not_a_message("it does not begin with a sequence");
  read_rest(1);
  std::size_t size = message[1];
  if (size >= 0x80) {
    std::size_t octets = size - 0x80;
    if (octets == 0) throw not_a_message("a length in it is not DER");
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
