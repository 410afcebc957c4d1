// How a refusal travels: as the one UTF8String of the PKIFreeText in a PKIStatusInfo with status rejection
// (RFC 4210 section 5.2.3), which reads
//
//     message ". " hint " [" code "]"        the order PO-1 is closed. open another order [order_closed]
//
// where code is name_of(error.code()). In message and hint a backslash is written twice and a NUL as "\0"; in
// the message a ". " is written "\. ", so that the first bare ". " ends it; the last " [" begins the code.
// message, hint and code therefore survive exactly; the cause stays at home. Pure functions, so that both
// sides agree.
#pragma once

#include <string>

#include "lib/base/error.h"

namespace fleetroot::cmp {

std::string encode_refusal(const Error& error);
// A text of any other shape comes from another CMP implementation: refused_by_ca, with the text as message.
// A code that this version does not know is refused_by_ca too.
Error decode_refusal(const std::string& text);

// Whether what the CA says is wrong with the CA itself, and not with the station or the device.
bool is_about_the_ca(ErrorCode code);

}  // namespace fleetroot::cmp
