// EST (RFC 7030) as far as it is words: paths and bodies. The front speaks it, and asks the signer as it does
// for CMP.
#pragma once

#include <optional>
#include <string_view>

#include "lib/base/bytes.h"
#include "lib/base/names.h"
#include "lib/x509/openssl.h"

namespace fleetroot::ca {

enum class EstOperation { cacerts, enroll, reenroll, csrattrs };

struct EstPath {
  EstOperation operation;
  std::optional<OrderId> order;
};

// /.well-known/est/[ORDER/]cacerts|simpleenroll|simplereenroll|csrattrs; nothing for any other.
std::optional<EstPath> parse_est_path(std::string_view path);

// What a request may best be made with: P-256 and SHA-256, which every shipped profile allows; in base64.
Bytes csr_attributes();
// Error(bad_request) unless it is base64; line ends may be anywhere.
Bytes decode_base64(BytesView text);

}  // namespace fleetroot::ca
