// Signatures for certificates that are linted and thrown away.
#pragma once

#include "lib/x509/public_key.h"

namespace fleetroot::ca {

// By a key that is made once a process and never leaves it. For RSA issuers it is octets of the right length
// instead: making an RSA key costs a tenth of a second, and no rule looks at the signature's value.
Bytes throwaway_signature(KeyAlgorithm algorithm, BytesView tbs);

}  // namespace fleetroot::ca
