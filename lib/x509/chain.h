// Certificate path validation (RFC 5280 section 6) against pinned roots.
#pragma once

#include <vector>

#include "lib/x509/certificate.h"

namespace fleetroot {

enum class ChainPurpose { tls_client, any };

struct ChainQuestion {
  std::vector<Certificate> roots;
  std::vector<Certificate> intermediates;
  ChainPurpose purpose = ChainPurpose::tls_client;
  Time time;
};

// The path from leaf to root, both included. Error(certificate_rejected) with OpenSSL's reason if there is
// none. Root certificates need not be self-signed to be trusted: what is pinned is pinned.
std::vector<Certificate> verify_chain(const Certificate& leaf, const ChainQuestion& question);

// Whether a CA is who the certificate names as its issuer, by name and key identifier. No signature is
// checked.
bool has_issued(const Certificate& ca, const Certificate& certificate);

}  // namespace fleetroot
