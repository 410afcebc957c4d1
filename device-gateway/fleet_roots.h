// Which roots an environment's devices may chain to. Certificates only; their keys are elsewhere.
#pragma once

#include "device-gateway/home.h"

namespace fleetroot::gateway {

// What is wrong with a root that somebody brings: Error(certificate_rejected) says which rule it breaks and
// how to have it made again. No CA, no keyCertSign, an extendedKeyUsage that OpenSSL refuses devices for, not
// valid now, a weak key, a signature that is not its own.
void refuse_unless_root(const Certificate& root, Time now);

// False if it is there already. Error(certificate_rejected) also if another environment has this key: nothing
// migrates between environments.
bool add_fleet_root(Registry& registry, const EnvironmentName& environment, const Certificate& root,
                    Time now);
// Error(usage) if no root of the environment has this fingerprint, or beginning of one.
void remove_fleet_root(Registry& registry, const EnvironmentName& environment,
                       const std::string& fingerprint);

}  // namespace fleetroot::gateway
