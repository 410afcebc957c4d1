// Taking over a CA's word on what is revoked.
#pragma once

#include "device-gateway/home.h"

namespace fleetroot::gateway {

// A million entries, PEM. Importing them takes 1 GB of memory.
inline constexpr std::size_t kMaximumListSize = 80 << 20;

// False if the environment has this list already. Error(certificate_rejected) unless one of `issuers`, which
// must itself chain to a Fleet Root of the environment, or a Fleet Root signed it; also for one that is older
// than what is there, or a delta list whose complete one is missing. Error(clock) for one from later than
// now. An expired list still revokes. A dry run changes nothing.
bool import_list(Registry& registry, const EnvironmentName& environment,
                 const CertificateRevocationList& list, const std::vector<Certificate>& issuers, Time now,
                 Commitment commitment);

}  // namespace fleetroot::gateway
