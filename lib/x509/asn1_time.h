// Times as certificates and revocation lists may write them.
#pragma once

#include <openssl/asn1.h>

#include <string>

namespace fleetroot {

// "cannot be read": what is wrong with it by RFC 5280 section 4.1.2.5, which has one way to write each
// second. Empty if nothing is.
std::string fault_of(const ASN1_TIME* time);

}  // namespace fleetroot
