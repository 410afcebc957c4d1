// What whoever asks a CA has to know to believe its answer (RFC 9483 section 3.5), whatever protects both.
#pragma once

#include <string>

#include "lib/base/bytes.h"
#include "lib/cmp/bodies.h"
#include "lib/cmp/wire.h"

namespace fleetroot::cmp {

// Of a request that is on its way. Random, and of this message alone.
struct Exchange {
  Bytes transaction_id = random_bytes(kRandomSize);
  Bytes nonce = random_bytes(kRandomSize);

  // Both, in a header to this recipient (a GeneralName, as DER).
  Header header_to(Bytes recipient) const;
};

Error unbelievable_answer(std::string why);

// What a protected answer says, if it answers this request; empty where it is neither cp nor kup.
// Error(protocol) for the answer to another one, and the Error that the CA refused with.
CertificateResponse response_in(const Message& answer, const Exchange& exchange);

}  // namespace fleetroot::cmp
