// A certificate's serial number: random, positive, 18 octets, never derived from anything.
#pragma once

#include <compare>
#include <string>

#include "lib/base/bytes.h"
#include "lib/x509/openssl.h"

namespace fleetroot {

class SerialNumber {
 public:
  // First octet 0x01..0x7f, then 17 random octets: positive, never padded, within the 20 octets of
  // RFC 5280 section 4.1.2.2, with more than the 64 random bits that CAs are asked for.
  static SerialNumber random();
  // Error(bad_request) unless it is positive.
  static SerialNumber of(const X509* certificate);
  static SerialNumber of(const ASN1_INTEGER* asn1);
  // With or without zero octets in front. Error(usage).
  static SerialNumber from_hex(std::string_view hex);

  std::string hex() const { return to_hex(octets_); }
  Asn1IntegerPtr asn1() const;
  // clang-tidy takes the compiler's own zero for a null pointer.
  auto operator<=>(const SerialNumber&) const = default;  // NOLINT(modernize-use-nullptr)

 private:
  explicit SerialNumber(Bytes octets) : octets_(std::move(octets)) {}
  Bytes octets_;
};

}  // namespace fleetroot
