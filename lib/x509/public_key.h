// A public key that software can verify with, and the key kinds that Fleetroot knows.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "lib/base/bytes.h"
#include "lib/x509/openssl.h"

namespace fleetroot {

enum class KeyAlgorithm { p256, p384, rsa2048, rsa3072, ed25519 };
inline constexpr std::array kKeyAlgorithms{KeyAlgorithm::p256, KeyAlgorithm::p384, KeyAlgorithm::rsa2048,
                                           KeyAlgorithm::rsa3072, KeyAlgorithm::ed25519};

// "p256", "p384", "rsa2048", "rsa3072", "ed25519": as configuration files and profiles write them.
std::string_view name_of(KeyAlgorithm algorithm);
// Also accepts "P-256", "RSA-2048" and the like. Error(usage) names the known ones.
KeyAlgorithm parse_key_algorithm(std::string_view text);

// Error(usage) for Ed25519: OpenSSL 3.0's CMP cannot sign messages with it, so a CA or a station with such a
// key could not work. Devices may have one.
void refuse_unless_signs_messages(KeyAlgorithm algorithm);

// SHA-256, or SHA-384 for P-384; null for Ed25519, which takes the message itself. Not owned by the caller.
const EVP_MD* digest_for(KeyAlgorithm algorithm);

// Immutable; copies share the key. May be used from several threads.
class PublicKey {
 public:
  // SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7). Error(bad_request) for anything that is not exactly one
  // of the five kinds: other curves, explicit curve parameters (RFC 5480 forbids them), other RSA sizes, a
  // public exponent other than 65537, a point that is not on its curve, bytes after the structure.
  static PublicKey from_spki(BytesView spki);
  // `key` keeps belonging to the caller.
  static PublicKey from_evp(EVP_PKEY* key);
  // An uncompressed point 04‖X‖Y (SEC 1 section 2.3.3).
  static PublicKey from_ec_point(KeyAlgorithm algorithm, BytesView point);
  static PublicKey from_rsa(BytesView modulus, BytesView exponent);
  static PublicKey from_ed25519(BytesView raw);

  KeyAlgorithm algorithm() const { return algorithm_; }
  const Bytes& spki() const { return spki_; }
  // The two parts of it, as DER and as the BIT STRING's octets.
  BytesView algorithm_identifier() const;
  BytesView key_octets() const;
  // SHA-256 over the SubjectPublicKeyInfo, in hexadecimal: the key's name in ledger and journal.
  const std::string& fingerprint() const { return fingerprint_; }
  EVP_PKEY* evp() const { return key_.get(); }

  // ECDSA signatures as DER, RSA as PKCS#1 v1.5, Ed25519 as 64 bytes.
  bool verifies(BytesView message, BytesView signature) const;

  bool operator==(const PublicKey& other) const { return spki_ == other.spki_; }

 private:
  PublicKey(EvpPkeyPtr key, KeyAlgorithm algorithm, BytesView spki);
  // Shared, because an EVP_PKEY is reference-counted anyway and copies of an immutable key are wanted.
  std::shared_ptr<EVP_PKEY> key_;
  KeyAlgorithm algorithm_;
  Bytes spki_;
  std::string fingerprint_;
};

}  // namespace fleetroot
