// What the gateway certifies: its own servers, for devices to pin; the devices that shared credentials make;
// and those credentials themselves, which chain to nothing, so that they can never pass for a device.
#pragma once

#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/x509/certificate.h"
#include "lib/x509/device_id.h"

namespace fleetroot::gateway {

// A certificate and the key that signs with it; the key may be one of a token.
struct CertifiedKey {
  Certificate certificate;
  EvpPkeyPtr key;
};

// A root with no CA below it, for ever. `key` signs, `public_key` is its other half.
Certificate make_root(const std::string& name, const PublicKey& public_key, EVP_PKEY* key, Time now);

// A host name or an address, without a port; short enough for a common name, which the first one becomes.
bool is_server_name(const std::string& name);
inline constexpr const char* kServerNameHint =
    "write it like gw.example.com or 192.0.2.1, without a port; a name beyond ASCII as xn--…";

// For these names, one year.
Certificate make_server_certificate(const std::vector<std::string>& names, const PublicKey& public_key,
                                    const CertifiedKey& root, Time now);
// Whether less than a third of its life is left, or it has other names.
bool is_due(const Certificate& certificate, const std::vector<std::string>& names, Time now);

Certificate make_device_certificate(const DeviceId& id, EVP_PKEY* device_key, const CertifiedKey& root,
                                    Time now, std::chrono::days lasts);

// A new key in memory and a certificate signed by itself.
CertifiedKey make_provisioning_key(const std::string& name, Time now, Time expires);

// A P-256 key in memory, for those who have no hardware. It is wiped when it is freed.
EvpPkeyPtr make_device_key();

// PKCS#12 with an empty password: key, certificate, root.
Bytes to_pkcs12(const std::string& name, EVP_PKEY* key, const Certificate& certificate,
                const Certificate& root);

}  // namespace fleetroot::gateway
