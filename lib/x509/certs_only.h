// Certificates as EST carries them: a PKCS#7 without content and without a signature (RFC 7030
// section 4.1.3), in base64.
#pragma once

#include <vector>

#include "lib/x509/certificate.h"

namespace fleetroot {

// In one line: RFC 8951 section 3 wants readers to bear line ends, and strongSwan's does not.
Bytes encode_certs_only(const std::vector<Certificate>& certificates);
// In their order. Error(protocol) for anything else.
std::vector<Certificate> parse_certs_only(BytesView text);

}  // namespace fleetroot
