// POST /devices of the shared-credential protocol (docs/formats.md): a device ID in, a PKCS#12 with a new
// key, its certificate and the gateway's root out. The key exists for as long as one answer takes.
#pragma once

#include <mutex>
#include <variant>

#include "device-gateway/authority.h"
#include "device-gateway/refusal.h"
#include "device-gateway/registry.h"

namespace fleetroot::gateway {

struct DeviceWish {
  DeviceId id;
  std::chrono::days ttl;
};

// {"deviceId": "…", "ttl": 36000}, strictly: days, as a number or as aktualizr writes it, in a string.
std::variant<DeviceWish, Refusal> parse_wish(BytesView body);

// Any thread; one device at a time.
class DeviceMaker {
 public:
  DeviceMaker(EnvironmentName environment, CertifiedKey device_root, Certificate gateway_root)
      : environment_(std::move(environment)),
        device_root_(std::move(device_root)),
        gateway_root_(std::move(gateway_root)) {}

  // The PKCS#12, once the device is registered and the credential's quota is one less, both durably.
  std::variant<Bytes, Refusal> make(const DeviceWish& wish, const CredentialName& credential,
                                    Registry& registry, Time now);

 private:
  const EnvironmentName environment_;
  const CertifiedKey device_root_;
  const Certificate gateway_root_;
  std::mutex mutex_;
};

}  // namespace fleetroot::gateway
