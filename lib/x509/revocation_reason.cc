#include "lib/x509/revocation_reason.h"

#include <fmt/format.h>

#include <array>
#include <string>

#include "lib/base/error.h"

namespace fleetroot {
namespace {

struct Row {
  RevocationReason reason;
  std::string_view name;
};

constexpr std::array kTable{
    Row{RevocationReason::unspecified, "unspecified"},
    Row{RevocationReason::key_compromise, "keyCompromise"},
    Row{RevocationReason::ca_compromise, "cACompromise"},
    Row{RevocationReason::affiliation_changed, "affiliationChanged"},
    Row{RevocationReason::superseded, "superseded"},
    Row{RevocationReason::cessation_of_operation, "cessationOfOperation"},
    Row{RevocationReason::certificate_hold, "certificateHold"},
    Row{RevocationReason::remove_from_crl, "removeFromCRL"},
    Row{RevocationReason::privilege_withdrawn, "privilegeWithdrawn"},
    Row{RevocationReason::aa_compromise, "aACompromise"},
};

}  // namespace

std::string_view name_of(RevocationReason reason) {
  for (const Row& row : kTable) {
    if (row.reason == reason) return row.name;
  }
  return "";
}

RevocationReason parse_revocation_reason(std::string_view text) {
  for (const Row& row : kTable) {
    if (row.name == text) return row.reason;
  }
  throw Error(ErrorCode::usage, fmt::format("\"{}\" is no reason for a revocation", text),
              fmt::format("choose {}", kPermanentReasons));
}

RevocationReason revocation_reason_from_code(long code) {
  for (const Row& row : kTable) {
    if (static_cast<long>(row.reason) == code) return row.reason;
  }
  throw Error(ErrorCode::bad_request, fmt::format("{} is no reason code of RFC 5280", code),
              "have the revocation list made again (RFC 5280 section 5.3.1)");
}

}  // namespace fleetroot
