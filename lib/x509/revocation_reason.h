// Why a certificate was revoked: the CRLReason of RFC 5280 section 5.3.1, spelt as it is there.
#pragma once

#include <string_view>

namespace fleetroot {

// The values are those of the standard.
enum class RevocationReason {
  unspecified = 0,
  key_compromise = 1,
  ca_compromise = 2,
  affiliation_changed = 3,
  superseded = 4,
  cessation_of_operation = 5,
  certificate_hold = 6,
  remove_from_crl = 8,
  privilege_withdrawn = 9,
  aa_compromise = 10,
};

// Those of a revocation that nothing lifts, as a hint names them.
inline constexpr std::string_view kPermanentReasons =
    "keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation, "
    "privilegeWithdrawn or unspecified";

// "keyCompromise"
std::string_view name_of(RevocationReason reason);
// Error(usage) names kPermanentReasons.
RevocationReason parse_revocation_reason(std::string_view text);
// Error(bad_request) for a number that is none of them.
RevocationReason revocation_reason_from_code(long code);

}  // namespace fleetroot
