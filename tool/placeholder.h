// The self-signed certificate that may sit on a token until the real one arrives, for firmware that cannot
// start without any. It proves nothing and no gateway admits it.
#pragma once

#include "lib/base/clock.h"
#include "lib/x509/certificate.h"
#include "lib/x509/device_id.h"

namespace fleetroot::station {

// CN = device ID, valid for 30 days from `now`, signed by the key itself.
Certificate make_placeholder(const DeviceId& device_id, const PublicKey& public_key, EVP_PKEY* signer,
                             Time now);

}  // namespace fleetroot::station
