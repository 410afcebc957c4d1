// An X.509 certificate, parsed and immutable.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/x509/device_id.h"
#include "lib/x509/openssl.h"
#include "lib/x509/public_key.h"
#include "lib/x509/serial_number.h"

namespace fleetroot {

// Copies share the parsed certificate. May be read from several threads.
class Certificate {
 public:
  // Error(bad_request) if the bytes are not exactly one certificate.
  static Certificate from_der(BytesView der);
  // The same for less, for whoever does not hand x509() to OpenSSL to verify something else with: OpenSSL
  // does not look at the public key. public_key() does.
  static Certificate fields_from_der(BytesView der);
  static Certificate from_pem(std::string_view pem);  // or DER
  // Every certificate of a PEM file, at least one, in its order; or the one in DER.
  static std::vector<Certificate> list_from_pem(std::string_view pem);
  // Takes ownership.
  explicit Certificate(X509Ptr certificate);
  Certificate(const Certificate& other);
  Certificate& operator=(const Certificate& other);
  Certificate(Certificate&&) noexcept = default;
  Certificate& operator=(Certificate&&) noexcept = default;

  X509* x509() const { return certificate_.get(); }
  Bytes der() const;
  std::string pem() const;
  std::string fingerprint() const { return sha256_hex(der()); }

  // The subject's common name; nothing unless there is exactly one CN in it, as text without NUL.
  std::optional<std::string> common_name() const;
  // One line, RFC 2253.
  std::string subject() const;
  std::string issuer() const;
  // Error(bad_request) for a key that is none of ours.
  PublicKey public_key() const;
  // The SubjectPublicKeyInfo of any key, as DER.
  Bytes spki() const;
  SerialNumber serial() const { return SerialNumber::of(certificate_.get()); }
  Time not_before() const;
  Time not_after() const;
  bool is_ca() const;
  // With its own key, as a root is; the signature is verified.
  bool is_self_signed() const;
  // The extensions' octets in hexadecimal; empty where there is none.
  std::string subject_key_identifier() const;
  std::string authority_key_identifier() const;
  bool has_extended_key_usage(int nid) const;
  bool operator==(const Certificate& other) const { return X509_cmp(x509(), other.x509()) == 0; }

 private:
  X509Ptr certificate_;
};

X509StackPtr to_stack(const std::vector<Certificate>& certificates);
std::string to_pem(const std::vector<Certificate>& certificates);

}  // namespace fleetroot
