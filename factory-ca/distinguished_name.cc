#include "factory-ca/distinguished_name.h"

#include <fmt/format.h>
#include <openssl/objects.h>

#include <algorithm>
#include <array>

#include "lib/base/error.h"
#include "lib/x509/der.h"

namespace fleetroot::ca {
namespace {

struct AttributeShape {
  NameAttributeType type;
  std::string_view word;
  int nid;
  std::string_view oid;
  std::size_t minimum;
  std::size_t maximum;  // RFC 5280 appendix A.1, in characters; we count octets, which is stricter
  bool printable;
};

constexpr std::array kShapes{
    AttributeShape{NameAttributeType::country, "country", NID_countryName, "2.5.4.6", 2, 2, true},
    AttributeShape{NameAttributeType::organization, "organization", NID_organizationName, "2.5.4.10", 1, 64,
                   false},
    AttributeShape{NameAttributeType::organizational_unit, "organizational unit", NID_organizationalUnitName,
                   "2.5.4.11", 1, 64, false},
    AttributeShape{NameAttributeType::serial_number, "serial number", NID_serialNumber, "2.5.4.5", 1, 64,
                   true},
    AttributeShape{NameAttributeType::common_name, "common name", NID_commonName, "2.5.4.3", 1, 64, false},
};

const AttributeShape& shape_of(NameAttributeType type) {
  return *std::find_if(kShapes.begin(), kShapes.end(),
                       [&](const AttributeShape& shape) { return shape.type == type; });
}

// X.680 section 41.4
bool is_printable(std::string_view text) {
  return text.find_first_not_of(
             "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?") ==
         std::string_view::npos;
}

// The length of the UTF-8 sequence that this octet begins; 0 if it begins none (RFC 3629 section 3).
std::size_t sequence_length(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return 2;
  if (first >= 0xe0 && first <= 0xef) return 3;
  if (first >= 0xf0 && first <= 0xf4) return 4;
  return 0;
}

bool is_good_sequence(std::string_view sequence) {
  auto octet = [&](std::size_t i) { return static_cast<unsigned char>(sequence[i]); };
  for (std::size_t i = 1; i < sequence.size(); ++i) {
    if ((octet(i) & 0xc0) != 0x80) return false;
  }
  if (octet(0) == 0xe0 && octet(1) < 0xa0) return false;  // overlong
  if (octet(0) == 0xed && octet(1) > 0x9f) return false;  // surrogates
  if (octet(0) == 0xf0 && octet(1) < 0x90) return false;  // overlong
  if (octet(0) == 0xf4 && octet(1) > 0x8f) return false;  // beyond U+10FFFF
  if (octet(0) == 0xc2 && octet(1) < 0xa0) return false;  // C1 control characters
  return sequence.size() > 1 || (octet(0) >= 0x20 && octet(0) != 0x7f);
}

}  // namespace

int nid_of(NameAttributeType type) {
  return shape_of(type).nid;
}

bool is_plain_text(std::string_view text) {
  while (!text.empty()) {
    std::size_t length = sequence_length(static_cast<unsigned char>(text.front()));
    if (length == 0 || length > text.size() || !is_good_sequence(text.substr(0, length))) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string reason_against(NameAttributeType type, std::string_view value) {
  const AttributeShape& shape = shape_of(type);
  if (value.size() < shape.minimum || value.size() > shape.maximum) {
    return fmt::format("a {} has {} to {} characters, not {}", shape.word, shape.minimum, shape.maximum,
                       value.size());
  }
  if (!is_plain_text(value)) return fmt::format("a {} is plain text without control characters", shape.word);
  if (shape.printable && !is_printable(value)) {
    return fmt::format("a {} takes letters, digits, space and '()+,-./:=? only", shape.word);
  }
  return {};
}

std::string reason_against_ca_name(std::string_view name) {
  constexpr std::size_t kMaximum = 48;  // leaves room for " Fleet Root" and the like, within the 64 of a CN
  if (name.size() > kMaximum) return fmt::format("it has more than {} characters", kMaximum);
  return reason_against(NameAttributeType::common_name, name);
}

Bytes encode_name(const DistinguishedName& name) {
  Bytes content;
  for (const NameAttribute& attribute : name) {
    if (std::string reason = reason_against(attribute.type, attribute.value); !reason.empty()) {
      throw Error(ErrorCode::bad_request, reason, "correct the value in the profile or the order");
    }
    const AttributeShape& shape = shape_of(attribute.type);
    Bytes value =
        shape.printable ? der::printable_string(attribute.value) : der::utf8_string(attribute.value);
    Bytes relative = der::set(der::sequence({der::object_identifier(shape.oid), value}));
    content.insert(content.end(), relative.begin(), relative.end());
  }
  return der::tagged(0x30, content);
}

}  // namespace fleetroot::ca
