#include "factory-ca/distinguished_name.h"

#include <fmt/format.h>
#include <openssl/objects.h>

#include <algorithm>
#include <array>

#include "lib/base/error.h"
#include "lib/base/printable.h"
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

}  // namespace

int nid_of(NameAttributeType type) {
  return shape_of(type).nid;
}

bool is_plain_text(std::string_view text) {
  return printable(text) == text;
}

std::string reason_against(NameAttributeType type, std::string_view value) {
  const AttributeShape& shape = shape_of(type);
  if (value.size() < shape.minimum || value.size() > shape.maximum) {
    std::string allowed = shape.minimum == shape.maximum
                              ? fmt::format("{}", shape.maximum)
                              : fmt::format("{} to {}", shape.minimum, shape.maximum);
    return fmt::format("it has {} characters, {} are allowed", value.size(), allowed);
  }
  if (!is_plain_text(value)) return "it is no plain text without control characters";
  if (shape.printable && !is_printable(value)) {
    return "it has more than letters, digits, space and '()+,-./:=? in it";
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
    const AttributeShape& shape = shape_of(attribute.type);
    if (std::string reason = reason_against(attribute.type, attribute.value); !reason.empty()) {
      throw Error(ErrorCode::bad_request, fmt::format("the {} cannot be used: {}", shape.word, reason),
                  "correct the value in the profile or the order");
    }
    Bytes value =
        shape.printable ? der::printable_string(attribute.value) : der::utf8_string(attribute.value);
    Bytes relative = der::set(der::sequence({der::object_identifier(shape.oid), value}));
    content.insert(content.end(), relative.begin(), relative.end());
  }
  return der::tagged(0x30, content);
}

}  // namespace fleetroot::ca
