#include "lib/http/url.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/base/error.h"

namespace fleetroot::http {
namespace {

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
  throw Error(ErrorCode::usage, fmt::format("\"{}\" is no URL to speak to: {}", text, why),
              "write it like https://host:port");
}

bool is_plain(char c) {
  return c > ' ' && c < 0x7f && c != '"' && c != '<' && c != '>' && c != '\\';
}

bool is_port(std::string_view port) {
  bool is_number = !port.empty() && port.size() <= 5 &&
                   std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!is_number) return false;
  int number = std::stoi(std::string(port));
  return number > 0 && number < 65536;
}

}  // namespace

Url Url::parse(std::string_view text) {
  std::string_view rest = text;
  Url url;
  auto take = [&](std::string_view scheme) {
    if (!rest.starts_with(scheme)) return false;
    rest.remove_prefix(scheme.size());
    return true;
  };
  if (!take("https://")) {
    if (!take("http://")) refuse(text, "it does not begin with https:// or http://");
    url.is_tls = false;
  }
  if (!std::all_of(rest.begin(), rest.end(), is_plain))
    refuse(text, "it has a character that must be encoded");
  if (rest.find('#') != std::string_view::npos) refuse(text, "it has a fragment");

  std::string_view authority = rest.substr(0, rest.find_first_of("/?"));
  rest.remove_prefix(authority.size());
  if (authority.find('@') != std::string_view::npos) refuse(text, "it has a user name");
  url.path = rest.starts_with('/') ? std::string(rest) : "/" + std::string(rest);

  std::size_t host_end = authority.find(':');
  if (authority.starts_with('[')) {
    std::size_t bracket = authority.find(']');
    if (bracket == std::string_view::npos) refuse(text, "its address has no closing bracket");
    url.host = authority.substr(1, bracket - 1);
    host_end = bracket + 1;
    if (host_end < authority.size() && authority[host_end] != ':') refuse(text, "its port is not valid");
    if (host_end == authority.size()) host_end = std::string_view::npos;
  } else {
    url.host = authority.substr(0, host_end);
  }
  if (url.host.empty()) refuse(text, "it names no host");
  url.port = host_end == std::string_view::npos ? (url.is_tls ? "443" : "80")
                                                : std::string(authority.substr(host_end + 1));
  if (!is_port(url.port)) refuse(text, "its port is not valid");
  return url;
}

std::string Url::authority() const {
  bool is_ipv6 = host.find(':') != std::string::npos;
  return is_ipv6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

}  // namespace fleetroot::http
