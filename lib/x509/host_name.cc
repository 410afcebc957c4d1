#include "lib/x509/host_name.h"

#include <arpa/inet.h>

#include <algorithm>

namespace fleetroot {
namespace {

bool is_dns_label(std::string_view label) {
  constexpr std::size_t kMaximum = 63;
  constexpr std::string_view kCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-";
  return !label.empty() && label.size() <= kMaximum && label.front() != '-' && label.back() != '-' &&
         label.find_first_not_of(kCharacters) == std::string_view::npos;
}

}  // namespace

std::optional<Bytes> address_octets(const std::string& name) {
  Bytes v4(sizeof(in_addr));
  if (inet_pton(AF_INET, name.c_str(), v4.data()) == 1) return v4;
  Bytes v6(sizeof(in6_addr));
  if (inet_pton(AF_INET6, name.c_str(), v6.data()) == 1) return v6;
  return std::nullopt;
}

bool is_every_address(const std::string& name) {
  std::optional<Bytes> octets = address_octets(name);
  return octets && std::ranges::all_of(*octets, [](std::uint8_t octet) { return octet == 0; });
}

bool is_dns_name(std::string_view name) {
  constexpr std::size_t kMaximum = 253;
  if (name.size() > kMaximum) return false;
  for (;;) {
    std::size_t dot = name.find('.');
    std::string_view label = name.substr(0, dot);
    if (!is_dns_label(label)) return false;
    if (dot == std::string_view::npos) return label.find_first_not_of("0123456789") != std::string_view::npos;
    name.remove_prefix(dot + 1);
  }
}

}  // namespace fleetroot
