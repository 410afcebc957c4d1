// A request bundle before it is answered: who sent it, and whether it is the one that comes next. Everything
// here only looks; what is refused leaves nothing behind.
#pragma once

#include <string>

#include "factory-ca/ledger.h"
#include "lib/cmp/responder.h"
#include "lib/media/request_bundle.h"

namespace fleetroot::ca {

struct ReceivedBundle {
  media::RequestBundle content;
  std::string digest;     // SHA-256 of the signed content
  StationRecord station;  // who signed it
  cmp::Sender sender;     // the same, as who signs the requests in it
};

// Signed by an enrolled station that is not revoked, in its own name, and for the CA with this certificate.
// Error(bundle_damaged, bundle_foreign, not_authorised) otherwise.
ReceivedBundle receive_bundle(BytesView document, Ledger& ledger, const Certificate& issuing, Time now);

// Error(bundle_gap, bundle_forked) unless this is the next of its station.
void refuse_unless_next(const ReceivedBundle& bundle, Ledger& ledger);
// Error(bundle_expired).
void refuse_if_expired(const ReceivedBundle& bundle, Time now);

}  // namespace fleetroot::ca
