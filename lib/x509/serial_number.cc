#include "lib/x509/serial_number.h"

#include <openssl/bn.h>

#include <algorithm>

namespace fleetroot {

SerialNumber SerialNumber::random() {
  Bytes octets = random_bytes(18);
  while ((octets[0] & 0x7f) == 0) octets[0] = random_bytes(1)[0];
  octets[0] &= 0x7f;
  return SerialNumber(std::move(octets));
}

SerialNumber SerialNumber::of(const X509* certificate) {
  return of(X509_get0_serialNumber(certificate));
}

SerialNumber SerialNumber::of(const ASN1_INTEGER* asn1) {
  BignumPtr number(ASN1_INTEGER_to_BN(asn1, nullptr));
  if (!number)
    throw openssl_error(ErrorCode::bad_request, "a certificate has no serial number", "make it again");
  if (BN_is_negative(number.get()) || BN_is_zero(number.get())) {
    throw Error(ErrorCode::bad_request, "a certificate's serial number is not positive",
                "make the certificate again (RFC 5280 section 4.1.2.2)");
  }
  Bytes octets(static_cast<std::size_t>(BN_num_bytes(number.get())));
  BN_bn2bin(number.get(), octets.data());
  return SerialNumber(std::move(octets));
}

SerialNumber SerialNumber::from_hex(std::string_view hex) {
  std::optional<Bytes> octets = fleetroot::from_hex(hex);
  // Other tools write the zero octet in front that DER needs for the sign; it is no part of the number.
  if (octets)
    octets->erase(octets->begin(),
                  std::find_if(octets->begin(), octets->end(), [](auto o) { return o != 0; }));
  if (!octets || octets->empty() || octets->size() > 20) {
    throw Error(ErrorCode::usage, "the serial number is not valid",
                "give it as 1 to 20 octets in hexadecimal");
  }
  return SerialNumber(std::move(*octets));
}

Asn1IntegerPtr SerialNumber::asn1() const {
  BignumPtr number(BN_bin2bn(octets_.data(), static_cast<int>(octets_.size()), nullptr));
  return Asn1IntegerPtr(BN_to_ASN1_INTEGER(number.get(), nullptr));
}

}  // namespace fleetroot
