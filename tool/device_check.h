// What a device's certificate must be before it touches a token, and what a provisioned token must show
// afterwards.
#pragma once

#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/x509/certificate.h"
#include "lib/x509/device_id.h"
#include "pkcs11/key_pair.h"

namespace fleetroot::station {

// Who the station believes.
struct Trust {
  std::vector<Certificate> fleet_roots;
  std::vector<Certificate> issuing;
};

// Same key, chain to a pinned Fleet Root, CN, usages, validity. Error(certificate_rejected) for the first
// that fails.
void refuse_certificate_unless_right(const Certificate& certificate, const std::vector<Certificate>& chain,
                                     const PublicKey& public_key, const DeviceId& device_id,
                                     const Trust& trust, Time now);

struct Finding {
  std::string check;
  bool passed = false;
  std::string detail;
};

// All that can be asked of a token that somebody has filled: key attributes, pair proof, certificate, chain,
// CN, validity. Never throws for what it finds; only for a token that fails.
std::vector<Finding> verify_device(const pkcs11::Session& session, const pkcs11::KeySpec& identity,
                                   const std::optional<DeviceId>& device_id, const Trust& trust, Time now);

}  // namespace fleetroot::station
