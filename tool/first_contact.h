// A device's first connection to the gateway, made on the line: TLS client authentication with a key that
// signs, the server pinned.
#pragma once

#include <string>
#include <vector>

#include "lib/x509/certificate.h"
#include "lib/x509/device_id.h"

namespace fleetroot::station {

// How long one may take to answer, in seconds.
constexpr int kGatewayPatience = 60;

struct Gateway {
  std::string url;
  std::vector<Certificate> roots;
};

// Connects as the device and asks GET /whoami: what the gateway calls the device's standing. `chain`: the
// device's certificate first; `key` may be one in a token. Error(not_authorised) if it is not let in or is
// taken for another, Error(ca_unreachable), Error(protocol) if the gateway is not the pinned one.
std::string meet_gateway(const Gateway& gateway, const std::vector<Certificate>& chain, EVP_PKEY* key,
                         const DeviceId& device_id);

}  // namespace fleetroot::station
