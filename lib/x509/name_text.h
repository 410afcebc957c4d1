// Reading a distinguished name without being fooled by it.
#pragma once

#include <optional>
#include <string>

#include "lib/x509/openssl.h"

namespace fleetroot {

// The one common name in it, as UTF-8; nothing if there is none, more than one, or one with a NUL in it.
std::optional<std::string> single_common_name(const X509_NAME* name);
// One line, RFC 2253.
std::string one_line(const X509_NAME* name);

}  // namespace fleetroot
