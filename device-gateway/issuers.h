// The CAs below an environment's Fleet Roots, as somebody names them who imports their lists and manifests.
#pragma once

#include <optional>

#include "device-gateway/registry.h"

namespace fleetroot::gateway {

// The Fleet Root with this subject key identifier (hexadecimal), or the one of `issuers` that has it and
// chains to a Fleet Root; nothing if none has it. Error(certificate_rejected) if it chains to none, is no
// CA's, or is revoked by a list that is here.
std::optional<Certificate> find_issuer(Registry& registry, const EnvironmentName& environment,
                                       const std::vector<Certificate>& issuers, const std::string& key_id,
                                       Time now);

}  // namespace fleetroot::gateway
