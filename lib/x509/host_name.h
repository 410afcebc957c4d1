// What a server may be called in its certificate: a host name, or an address.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lib/base/bytes.h"

namespace fleetroot {

// An IP address's octets, if the name is one (RFC 5280 section 4.2.1.6).
std::optional<Bytes> address_octets(const std::string& name);

// 0.0.0.0 and ::, which are listened on and never connected to.
bool is_every_address(const std::string& name);

// What a dNSName may hold: labels of letters, digits and dashes, 253 characters in all (RFC 5280 section
// 4.2.1.6, RFC 1123 section 2.1); no wildcard, and no dotted number, which would be no address.
bool is_dns_name(std::string_view name);

}  // namespace fleetroot
