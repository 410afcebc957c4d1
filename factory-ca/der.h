// Writing DER (X.690): the few shapes that a certificate is made of. OpenSSL reads them back in the lint
// step, so that what is written here is judged by somebody else's parser.
#pragma once

#include <initializer_list>
#include <string_view>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"

namespace fleetroot::ca::der {

Bytes tagged(std::uint8_t tag, BytesView content);
Bytes concatenated(std::initializer_list<BytesView> parts);
Bytes sequence(std::initializer_list<BytesView> parts);
Bytes set(BytesView part);
// [number] EXPLICIT
Bytes explicit_tag(unsigned number, BytesView content);
Bytes small_integer(unsigned value);
Bytes integer(std::uint64_t value);
// Dotted decimal. Error(configuration) if it is no object identifier.
Bytes object_identifier(std::string_view dotted);
Bytes octet_string(BytesView content);
Bytes bit_string(BytesView content);
// Bit 0 is the most significant; trailing zero bits are left out (X.690 section 11.2.2). Up to 16 bits.
Bytes named_bits(std::uint16_t bits);
Bytes boolean_true();
Bytes utf8_string(std::string_view text);
Bytes printable_string(std::string_view text);
// UTCTime through 2049, GeneralizedTime from 2050 (RFC 5280 section 4.1.2.5).
Bytes time(Time time);

}  // namespace fleetroot::ca::der
