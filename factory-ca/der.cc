#include "factory-ca/der.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <bit>

#include "lib/x509/openssl.h"

namespace fleetroot::ca::der {
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
  for (BytesView part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

Bytes sequence(std::initializer_list<BytesView> parts) {
  return tagged(0x30, concatenated(parts));
}

Bytes set(BytesView part) {
  return tagged(0x31, part);
}

Bytes explicit_tag(unsigned number, BytesView content) {
  return tagged(static_cast<std::uint8_t>(0xa0 | number), content);
}

Bytes small_integer(unsigned value) {
  Bytes content{static_cast<std::uint8_t>(value & 0x7f)};
  return tagged(0x02, content);
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
  return tagged(0x04, content);
}

Bytes bit_string(BytesView content) {
  static constexpr std::uint8_t kNoUnusedBits[] = {0};
  return tagged(0x03, concatenated({kNoUnusedBits, content}));
}

Bytes named_bits(std::uint16_t bits) {
  unsigned unused = bits == 0 ? 16 : static_cast<unsigned>(std::countr_zero(bits));
  Bytes content{static_cast<std::uint8_t>(unused % 8)};
  if (unused < 16) content.push_back(static_cast<std::uint8_t>(bits >> 8));
  if (unused < 8) content.push_back(static_cast<std::uint8_t>(bits & 0xff));
  return tagged(0x03, content);
}

Bytes boolean_true() {
  return {0x01, 0x01, 0xff};
}

Bytes utf8_string(std::string_view text) {
  return tagged(0x0c, as_bytes(text));
}

Bytes printable_string(std::string_view text) {
  return tagged(0x13, as_bytes(text));
}

Bytes time(Time time) {
  std::tm parts = fmt::gmtime(static_cast<std::time_t>(time.time_since_epoch().count()));
  bool generalized = parts.tm_year + 1900 >= 2050;
  std::string text =
      generalized ? fmt::format("{:%Y%m%d%H%M%SZ}", parts) : fmt::format("{:%y%m%d%H%M%SZ}", parts);
  return tagged(generalized ? 0x18 : 0x17, as_bytes(text));
}

}  // namespace fleetroot::ca::der
