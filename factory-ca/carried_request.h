// One request that came in a bundle instead of a conversation: steps 1 and 2 of docs/issuance-cycle.md, then
// the issuer's. No CMP answer is made; the signature over the reply bundle covers what is decided.
#pragma once

#include "factory-ca/bundle_check.h"
#include "factory-ca/issuer.h"

namespace fleetroot::ca {

// Throws Error to refuse this request alone. Any thread.
Task<Bytes> issue_carried(const media::CarriedRequest& request, const ReceivedBundle& bundle, Issuer& issuer);

}  // namespace fleetroot::ca
