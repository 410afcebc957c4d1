// CMP over HTTP(S) (RFC 6712, RFC 9811): https://host:port, several with commas between them, tried in turn.
// cmp+http://host:port/path is CMP without TLS, for a CA that has none: the messages protect themselves.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/http/url.h"
#include "tool/transport.h"

namespace fleetroot::station {

// Whether it is this file's business.
bool is_http_ca(std::string_view url);

// Where the messages go; an empty `path` means /.well-known/cmp/p/ORDER, or /.well-known/cmp without an
// order: where none is written, and where "/" is behind https://host:port. Error(usage).
std::vector<http::Url> parse_http_ca(const std::string& url);

// Connects when first used.
std::unique_ptr<Transport> open_http_transport(const std::string& url, int timeout_seconds);

}  // namespace fleetroot::station
