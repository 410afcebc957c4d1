// The protection of a PKIMessage between those who share a secret (RFC 4210 section 5.1.3.1), in one form:
// SHA-256 a hundred times over secret and salt, and HMAC with SHA-256. The secret is random and no password:
// nobody gets to it by trying.
#pragma once

#include <optional>
#include <string_view>

#include "lib/base/bytes.h"

namespace fleetroot::cmp {

// The AlgorithmIdentifier, with a salt of its own.
Bytes new_mac_algorithm();

// Nothing where the algorithm is another one. Error(internal) if OpenSSL fails.
std::optional<Bytes> mac_of(BytesView bytes, BytesView algorithm, std::string_view secret);

}  // namespace fleetroot::cmp
