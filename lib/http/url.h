// The few URLs that we speak to: http://host:port/path and https://host:port/path.
#pragma once

#include <string>
#include <string_view>

namespace fleetroot::http {

struct Url {
  bool is_tls = true;
  std::string host;  // an IPv6 address without its brackets
  std::string port;  // "443" or "80" where none is written
  std::string path;  // "/" at least; with the query, if there is one

  // Error(usage) for other schemes, user names, fragments, blanks and control characters.
  static Url parse(std::string_view text);
  // "host:port", as a Host header and a message to a person say it.
  std::string authority() const;
};

}  // namespace fleetroot::http
