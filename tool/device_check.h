// What a device's certificate must be before it touches a token, and what a provisioned token must show
// afterwards.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.h"
#include "lib/x509/certificate.h"
#include "lib/x509/device_id.h"
#include "pkcs11/key_policy.h"
#include "pkcs11/session.h"

namespace fleetroot::station {

// Who the station believes.
struct Trust {
  std::vector<Certificate> fleet_roots;
  std::vector<Certificate> issuing;
};

// Same key, chain to a pinned Fleet Root, CN, usages, validity. Error(certificate_rejected) for the first
// that fails; Error(clock) for one that is not valid yet.
void refuse_certificate_unless_right(const Certificate& certificate, const std::vector<Certificate>& chain,
                                     const PublicKey& public_key, const DeviceId& device_id,
                                     const Trust& trust, Time now);

// Error(clock) for one that is not valid yet.
void refuse_if_not_valid_yet(const Certificate& certificate, Time now);

struct Finding {
  std::string check;
  bool passed = false;
  std::string detail;
  std::string hint = {};  // where it failed
};

bool all_passed(const std::vector<Finding>& findings);

// Whether an error says that a device is not what it must be. After any other nobody knows: a token failed,
// or the network, or a clock is wrong.
bool is_about_device(ErrorCode code);

// What has become of a certificate that was written under this ID, and does not lie there alone any more.
std::string_view fate_of(const Certificate& certificate, const pkcs11::Session& session,
                         const pkcs11::KeyId& id);

// All that can be asked of a token that somebody has filled: of each key pair of the policy that it is there,
// algorithm, attributes and proof; then certificate, CN, usage, chain, validity. What is wrong with the
// device is a finding, and so is what comes after one that failed; Error for all else, as is_about_device()
// divides them.
std::vector<Finding> verify_device(const pkcs11::Session& session, const pkcs11::KeyPolicy& policy,
                                   const std::optional<DeviceId>& device_id, const Trust& trust, Time now);

}  // namespace fleetroot::station
