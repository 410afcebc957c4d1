// For whoever runs the CA: why it could not do what it was asked for.
#pragma once

#include "lib/base/error.h"

namespace fleetroot::ca {

// One line on stderr, with the cause, if the error is the CA's own; nothing where a device, a request or a
// station is refused, which is what the answer says.
void tell_failure(const Error& error);

}  // namespace fleetroot::ca
