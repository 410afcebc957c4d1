#include "lib/http/framing.h"

namespace fleetroot::http {

std::optional<HeaderFault> fault_in_framing(const boost::beast::http::fields& fields, unsigned version) {
  using boost::beast::http::field;
  constexpr unsigned kHttp11 = 11;
  std::size_t codings = fields.count(field::transfer_encoding);
  if (codings == 0) return std::nullopt;
  if (version < kHttp11) return HeaderFault{400, "HTTP/1.0 has no Transfer-Encoding"};
  if (fields.count(field::content_length) != 0)
    return HeaderFault{400, "Transfer-Encoding and Content-Length exclude each other"};
  if (codings != 1 || !boost::beast::iequals(fields[field::transfer_encoding], "chunked"))
    return HeaderFault{501, "the only Transfer-Encoding here is chunked"};
  return std::nullopt;
}

}  // namespace fleetroot::http
