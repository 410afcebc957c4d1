// The subjects that Fleetroot writes: one attribute a relative distinguished name, each with its upper bound.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.h"

namespace fleetroot::ca {

enum class NameAttributeType { country, organization, organizational_unit, serial_number, common_name };

struct NameAttribute {
  NameAttributeType type;
  std::string value;
  bool operator==(const NameAttribute&) const = default;
};
using DistinguishedName = std::vector<NameAttribute>;

int nid_of(NameAttributeType type);

// Why this value cannot stand in that attribute: empty, longer than RFC 5280 appendix A.1 allows, characters
// outside of its string type; said of "it". Empty if it can.
std::string reason_against(NameAttributeType type, std::string_view value);

// The same for a CA's name, which is a common name with room for the words that are added to it.
std::string reason_against_ca_name(std::string_view name);

// UTF-8 without control characters.
bool is_plain_text(std::string_view text);

// DER. Throws Error(bad_request) where reason_against() has one.
Bytes encode_name(const DistinguishedName& name);

}  // namespace fleetroot::ca
