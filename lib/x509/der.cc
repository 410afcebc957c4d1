#include "lib/x509/der.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <bit>

#include "lib/x509/openssl.h"

namespace fleetroot::der {
namespace {

void append_length(Bytes& out, std::size_t length) {
  if (length < 0x80) {
    out.push_back(static_cast<std::uint8_t>(length));
    return;
  }
  std::size_t octets = (static_cast<std::size_t>(std::bit_width(length)) + 7) / 8;
  out.push_back(static_cast<std::uint8_t>(0x80 | octets));
  for (std::size_t i = octets; i > 0; --i) {
    out.push_back(static_cast<std::uint8_t>(length >> (8 * (i - 1)) & 0xff));
  }
}

std::tm parts_of(Time time) {
  return fmt::gmtime(static_cast<std::time_t>(time.time_since_epoch().count()));
}

}  // namespace

Bytes tagged(std::uint8_t tag, BytesView content) {
  Bytes out;
  out.reserve(content.size() + 6);
  out.push_back(tag);
  append_length(out, content.size());
  out.insert(out.end(), content.begin(), content.end());
  return out;
}

Bytes concatenated(std::initializer_list<BytesView> parts) {
  Bytes out;
  std::size_t size = 0;
  for (BytesView part : parts) size += part.size();
  out.reserve(size);
  for (BytesView part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

Bytes sequence(std::initializer_list<BytesView> parts) {
  return tagged(kSequence, concatenated(parts));
}

Bytes set(BytesView part) {
  return tagged(kSet, part);
}

Bytes explicit_tag(unsigned number, BytesView content) {
  return tagged(context_tag(number), content);
}

Bytes small_integer(unsigned value) {
  Bytes content{static_cast<std::uint8_t>(value & 0x7f)};
  return tagged(kInteger, content);
}

Bytes integer(std::uint64_t value) {
  Asn1IntegerPtr number(ASN1_INTEGER_new());
  ASN1_INTEGER_set_uint64(number.get(), value);
  return to_der(i2d_ASN1_INTEGER, static_cast<const ASN1_INTEGER*>(number.get()));
}

Bytes object_identifier(std::string_view dotted) {
  Asn1ObjectPtr object(OBJ_txt2obj(std::string(dotted).c_str(), 1));
  if (!object) {
    throw openssl_error(ErrorCode::configuration, fmt::format("\"{}\" is no object identifier", dotted),
                        "write it in dotted decimal, as in 1.3.6.1.5.5.7.3.2");
  }
  return to_der(i2d_ASN1_OBJECT, object.get());
}

Bytes octet_string(BytesView content) {
  return tagged(kOctetString, content);
}

Bytes bit_string(BytesView content) {
  static constexpr std::uint8_t kNoUnusedBits[] = {0};
  return tagged(kBitString, concatenated({kNoUnusedBits, content}));
}

Bytes named_bits(std::uint16_t bits) {
  return named_bits(static_cast<std::uint32_t>(bits) << 16);
}

Bytes named_bits(std::uint32_t bits) {
  int used = bits == 0 ? 0 : 32 - std::countr_zero(bits);
  Bytes content{static_cast<std::uint8_t>((8 - used % 8) % 8)};
  for (int bit = 0; bit < used; bit += 8) content.push_back(static_cast<std::uint8_t>(bits >> (24 - bit)));
  return tagged(kBitString, content);
}

Bytes boolean_true() {
  return {kBoolean, 0x01, 0xff};
}

Bytes null() {
  return {0x05, 0x00};
}

Bytes utf8_string(std::string_view text) {
  return tagged(kUtf8String, as_bytes(text));
}

Bytes printable_string(std::string_view text) {
  return tagged(0x13, as_bytes(text));
}

Bytes time(Time time) {
  std::tm parts = parts_of(time);
  if (parts.tm_year + 1900 >= 2050) return generalized_time(time);
  return tagged(0x17, as_bytes(fmt::format("{:%y%m%d%H%M%SZ}", parts)));
}

Bytes generalized_time(Time time) {
  return tagged(0x18, as_bytes(fmt::format("{:%Y%m%d%H%M%SZ}", parts_of(time))));
}

std::optional<Time> parse_generalized_time(BytesView element) {
  constexpr std::size_t kSize = sizeof "..YYYYMMDDhhmmssZ" - 1;
  if (element.size() != kSize) return std::nullopt;
  std::string_view text = as_text(element).substr(2);
  std::optional<Time> time =
      parse_time(fmt::format("{}-{}-{}T{}:{}:{}Z", text.substr(0, 4), text.substr(4, 2), text.substr(6, 2),
                             text.substr(8, 2), text.substr(10, 2), text.substr(12, 2)));
  return time && equal(generalized_time(*time), element) ? time : std::nullopt;
}

Error Blame::error(std::string_view why) const {
  return {code, fmt::format("{}: {}", what, why), std::string(hint)};
}

Element Reader::take() {
  constexpr std::uint8_t kTagNumberMask = 0x1f;
  BytesView whole = rest_;
  auto octets = [&](std::size_t size) {
    if (size > rest_.size()) throw blame_.error("it stops in the middle");
    BytesView taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  };
  std::uint8_t tag = octets(1)[0];
  if ((tag & kTagNumberMask) == kTagNumberMask) throw blame_.error("it has a tag that does not belong there");
  std::size_t size = octets(1)[0];
  if (size >= 0x80) {
    BytesView length = octets(size - 0x80);
    if (length.empty() || length.size() > 3 || length[0] == 0)
      throw blame_.error("a length in it is not DER");
    size = 0;
    for (std::uint8_t octet : length) size = size << 8 | octet;
    if (size < 0x80) throw blame_.error("a length in it is not DER");
  }
  BytesView content = octets(size);
  return {tag, content, whole.first(whole.size() - rest_.size())};
}

BytesView Reader::take(std::uint8_t tag, std::string_view what) {
  if (at_end() || rest_[0] != tag) throw blame_.error(fmt::format("{} is missing or of another type", what));
  return take().content;
}

std::optional<BytesView> Reader::take_if(std::uint8_t tag) {
  if (at_end() || rest_[0] != tag) return std::nullopt;
  return take().content;
}

int Reader::take_small_integer(std::string_view what) {
  BytesView content = take(kInteger, what);
  if (content.size() != 1) throw blame_.error(fmt::format("{} is out of range", what));
  return static_cast<std::int8_t>(content[0]);
}

BytesView Reader::take_octet_bits(std::string_view what) {
  BytesView content = take(kBitString, what);
  if (content.empty() || content[0] != 0) throw blame_.error(fmt::format("{} has unused bits", what));
  return content.subspan(1);
}

void Reader::refuse_more(std::string_view what) const {
  if (!at_end()) throw blame_.error(fmt::format("something follows {}", what));
}

}  // namespace fleetroot::der
