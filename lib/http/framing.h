// Whether everybody sees a message end in the same place, as far as its header says. For this folder only.
#pragma once

#include <boost/beast/http/fields.hpp>
#include <optional>
#include <string_view>

namespace fleetroot::http {

// What speaks against reading on behind a header, and what a server answers to it.
struct HeaderFault {
  unsigned status;
  std::string_view words;
};

// RFC 9112 section 6.1, with chunked as the one transfer coding. What Beast does not know it takes for no
// body at all.
std::optional<HeaderFault> fault_in_framing(const boost::beast::http::fields& fields, unsigned version);

}  // namespace fleetroot::http
