// The factory CA as a child process: PKIMessages in on one file descriptor, answers out on another.
#pragma once

#include "factory-ca/issuer.h"

namespace fleetroot::ca {

// Answers one message after the other until the input ends. Error(protocol) for bytes that are no PKIMessage;
// Error(ca_unreachable) if nothing comes for ten minutes.
void respond(Issuer& issuer, int in, int out);

}  // namespace fleetroot::ca
