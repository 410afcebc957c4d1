// DER (X.690), the few shapes of it that certificates and CMP messages are made of: writing, and reading
// without forgiving anything. What is written here is read back by OpenSSL: in the lint step, and in the
// tests of lib/cmp.
#pragma once

#include <initializer_list>
#include <optional>
#include <string_view>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"

namespace fleetroot::der {

inline constexpr std::uint8_t kBoolean = 0x01;
inline constexpr std::uint8_t kInteger = 0x02;
inline constexpr std::uint8_t kBitString = 0x03;
inline constexpr std::uint8_t kOctetString = 0x04;
inline constexpr std::uint8_t kUtf8String = 0x0c;
inline constexpr std::uint8_t kSequence = 0x30;
inline constexpr std::uint8_t kSet = 0x31;
// [number], constructed: an explicit tag, or an implicit one of something constructed.
constexpr std::uint8_t context_tag(unsigned number) {
  return static_cast<std::uint8_t>(0xa0 | number);
}

Bytes tagged(std::uint8_t tag, BytesView content);
Bytes concatenated(std::initializer_list<BytesView> parts);
Bytes sequence(std::initializer_list<BytesView> parts);
Bytes set(BytesView part);
// [number] EXPLICIT
Bytes explicit_tag(unsigned number, BytesView content);
// 0 to 127
Bytes small_integer(unsigned value);
Bytes integer(std::uint64_t value);
// Dotted decimal. Error(configuration) if it is no object identifier.
Bytes object_identifier(std::string_view dotted);
Bytes octet_string(BytesView content);
Bytes bit_string(BytesView content);
// Bit 0 is the most significant; trailing zero bits are left out (X.690 section 11.2.2). 16 and 32 bits.
Bytes named_bits(std::uint16_t bits);
Bytes named_bits(std::uint32_t bits);
Bytes boolean_true();
Bytes null();
Bytes utf8_string(std::string_view text);
Bytes printable_string(std::string_view text);
// UTCTime through 2049, GeneralizedTime from 2050 (RFC 5280 section 4.1.2.5).
Bytes time(Time time);
Bytes generalized_time(Time time);
// The same, read: an element that generalized_time() writes; nothing for anything else.
std::optional<Time> parse_generalized_time(BytesView element);

// One element. Both refer to the bytes that were read.
struct Element {
  std::uint8_t tag;
  BytesView content;
  BytesView whole;  // with tag and length
};

// What is said of bytes that do not read: Error(code, "WHAT: why", hint).
struct Blame {
  ErrorCode code;
  std::string_view what;
  std::string_view hint;
  [[nodiscard]] Error error(std::string_view why) const;
};

// Takes elements off the front of some bytes, which must outlive it, as must `blame`. Tags of one octet and
// lengths below 16 MiB, each in its shortest form. Throws what `blame` says.
class Reader {
 public:
  Reader(BytesView bytes, const Blame& blame) : rest_(bytes), blame_(blame) {}

  bool at_end() const { return rest_.empty(); }
  Element take();
  // The content of the next element, which must have this tag; `what` names it where it has not.
  BytesView take(std::uint8_t tag, std::string_view what);
  // The same, as a reader of what is inside.
  Reader enter(std::uint8_t tag, std::string_view what) { return {take(tag, what), blame_}; }
  // The content of the next element if it has this tag.
  std::optional<BytesView> take_if(std::uint8_t tag);
  // An INTEGER between -128 and 127.
  int take_small_integer(std::string_view what);
  // The octets of a BIT STRING without unused bits.
  BytesView take_octet_bits(std::string_view what);
  void refuse_more(std::string_view what) const;

 private:
  BytesView rest_;
  const Blame& blame_;
};

}  // namespace fleetroot::der
