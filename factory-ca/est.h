// EST (RFC 7030) as far as it is words: paths, and certificates as PKCS#7 in base64. The front speaks it, and
// asks the signer as it does for CMP.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/names.h"
#include "lib/x509/certificate.h"

namespace fleetroot::ca {

enum class EstOperation { cacerts, enroll, csrattrs };

struct EstPath {
  EstOperation operation;
  std::optional<OrderId> order;
};

// /.well-known/est/[ORDER/]cacerts|simpleenroll|simplereenroll|csrattrs; nothing for any other. Enrolling
// again is the same as enrolling: the same device and key get the same certificate.
std::optional<EstPath> parse_est_path(std::string_view path);

// Certificates without a signature (RFC 7030 section 4.1.3), as DER in base64.
Bytes encode_certs_only(const std::vector<Certificate>& certificates);
// What a request may best be made with: P-256 and SHA-256, which every shipped profile allows; in base64.
Bytes csr_attributes();
// Error(bad_request) unless it is base64; line ends may be anywhere.
Bytes decode_base64(BytesView text);

}  // namespace fleetroot::ca
