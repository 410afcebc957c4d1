// EST (RFC 7030) from the side that wants a certificate: est+https://host:port, several with commas between
// them, tried in turn. The station's certificate is shown in TLS; EST has no confirmation.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/http/url.h"
#include "tool/ca_client.h"

namespace fleetroot::station {

// Whether it is this file's business.
bool is_est_ca(std::string_view url);

// Where the server is; nothing in `path` beyond "/" means /.well-known/est/ORDER, or /.well-known/est
// without an order. Error(usage).
std::vector<http::Url> parse_est_ca(const std::string& url);

// Connects when first used. `caller` is asked then, once.
std::unique_ptr<CaClient> open_est_ca(const std::string& url, int timeout_seconds,
                                      std::function<Caller()> caller);

}  // namespace fleetroot::station
