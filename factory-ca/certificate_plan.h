// What a certificate shall say: the plan that the build step writes down as DER and that the lint step holds
// against what a parser finds in those bytes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "factory-ca/distinguished_name.h"
#include "lib/base/clock.h"
#include "lib/x509/certificate.h"

namespace fleetroot::ca {

// RFC 5280 section 4.1.2.5: "no well-defined expiration date", 99991231235959Z.
inline constexpr Time kNoExpiry{std::chrono::seconds{253402300799}};

// RFC 4108 section 5: what kind of hardware, by an object identifier, and which one.
struct HardwareModuleName {
  std::string type;
  std::string serial;
  bool operator==(const HardwareModuleName&) const = default;
};

struct CertificatePlan {
  DistinguishedName subject;
  PublicKey public_key;
  Time not_before;
  Time not_after;
  // Bit 0 of RFC 5280 section 4.2.1.3 (digitalSignature) is the most significant.
  std::uint16_t key_usage = 0;
  // Dotted decimal.
  std::vector<std::string> extended_key_usage;
  std::optional<HardwareModuleName> hardware_module;
  // DNS names and IP addresses of a TLS server; not together with a hardware module.
  std::vector<std::string> server_names{};
  bool is_ca = false;
  std::optional<unsigned> path_length;
};

inline constexpr std::uint16_t kDigitalSignature = 0x8000;
inline constexpr std::uint16_t kKeyCertSign = 0x0400;
inline constexpr std::uint16_t kCrlSign = 0x0200;

inline constexpr const char* kClientAuth = "1.3.6.1.5.5.7.3.2";
inline constexpr const char* kServerAuth = "1.3.6.1.5.5.7.3.1";

// What of the issuer goes into what it issues.
struct IssuerFacts {
  Bytes name;  // DER
  Bytes key_identifier;
  KeyAlgorithm algorithm;
  Time not_before;
  Time not_after;
  bool is_subject_itself = false;

  static IssuerFacts of(const Certificate& certificate);
  // For a root: the issuer of `plan` is its own subject.
  static IssuerFacts self_signed(const CertificatePlan& plan);
};

// RFC 7093 section 2, method 1: the leftmost 160 bits of the SHA-256 of the key's BIT STRING.
Bytes key_identifier_of(const PublicKey& key);

// The AlgorithmIdentifier that a key of this kind signs certificates with, as DER.
const Bytes& signature_algorithm_of(KeyAlgorithm algorithm);

// An Extension (RFC 5280 section 4.1), as DER; `value` is what its OCTET STRING holds.
Bytes extension(const char* oid, bool critical, const Bytes& value);

// The TBSCertificate (RFC 5280 section 4.1.2), as DER: the bytes that will be linted, reserved and signed.
Bytes encode_tbs(const CertificatePlan& plan, const IssuerFacts& issuer, const SerialNumber& serial);

}  // namespace fleetroot::ca
