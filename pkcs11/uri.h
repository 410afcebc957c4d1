// A token's address: an RFC 7512 PKCS#11 URI, parsed strictly. p11-kit's parser decodes; what it would let
// pass silently (an attribute twice, one that nobody knows, white space, a PIN in the URI) is refused before.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace fleetroot::pkcs11 {

struct Uri {
  // Attributes that a token must match; absent ones match anything.
  std::optional<std::string> token;
  std::optional<std::string> manufacturer;
  std::optional<std::string> model;
  std::optional<std::string> serial;
  // The module, given as module-path in the query part (RFC 7512) or the path part (seen in the wild).
  std::optional<std::string> module_path;
  // pin-source, undecided: "file:PATH", a bare path, "env:NAME" or "credential:NAME"
  std::optional<std::string> pin_source;

  // Error(usage) that says which attribute is wrong and what to write instead. pin-value is refused.
  static Uri parse(std::string_view text);
  // For people and logs: the matching attributes only, no module, no PIN source.
  std::string describe() const;
};

}  // namespace fleetroot::pkcs11
