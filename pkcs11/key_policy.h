// Which key pairs a device gets: kind, CKA_ID and label of each, and which of them is certified.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/x509/public_key.h"

namespace fleetroot::pkcs11 {

// A CKA_ID: 1 to 32 bytes. Never empty, because tokens confuse keys with equal or empty IDs.
class KeyId {
 public:
  static KeyId from_bytes(BytesView bytes);
  // Hexadecimal. Error(usage).
  static KeyId parse(std::string_view hex);
  const Bytes& bytes() const { return bytes_; }
  std::string hex() const { return to_hex(bytes_); }
  auto operator<=>(const KeyId&) const = default;

 private:
  explicit KeyId(Bytes bytes) : bytes_(std::move(bytes)) {}
  Bytes bytes_;
};

struct KeyName {
  KeyId id;
  std::string label;
};

// One key pair of a policy.
struct KeySpec {
  KeyAlgorithm algorithm;
  KeyName key;
  // Where its certificate goes; nothing for a pair without one (the Uptane key).
  std::optional<KeyName> certificate;
};

// The first spec has a certificate; the others have none.
struct KeyPolicy {
  std::vector<KeySpec> specs;

  const KeySpec& identity() const { return specs.front(); }

  // "fleetroot": one pair, ID 01, label "fleetroot", P-256 by default.
  // "aktualizr": certificate ID 01, TLS key ID 02, Uptane key ID 03 (RSA-2048).
  // "lmp": Foundries: key "tls"/01, certificate "client"/03.
  // Error(usage) names the known presets.
  static KeyPolicy preset(std::string_view name, KeyAlgorithm identity_algorithm);
};

}  // namespace fleetroot::pkcs11
