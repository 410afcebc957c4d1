// PEM texts in memory, in and out of OpenSSL.
#pragma once

#include <string>
#include <string_view>

#include "lib/x509/openssl.h"

namespace fleetroot {

// A BIO that reads `text`, which must outlive it.
BioPtr pem_reader(std::string_view text);
// For OpenSSL's PEM readers, which would otherwise ask on the terminal for the pass phrase of a text that
// says it is encrypted, or take a line of stdin for it.
int no_pass_phrase(char* buffer, int size, int is_writing, void* context);
// What was written into a memory BIO.
std::string text_in(BIO* memory);

}  // namespace fleetroot
