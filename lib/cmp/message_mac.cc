#include "lib/cmp/message_mac.h"

#include <openssl/crmf.h>

#include "lib/cmp/wire.h"
#include "lib/x509/openssl.h"

namespace fleetroot::cmp {
namespace {

constexpr std::size_t kSaltSize = 16;
constexpr unsigned kRounds = 100;  // the least that OpenSSL takes
constexpr std::string_view kPasswordBasedMac = "1.2.840.113533.7.66.13";
constexpr std::string_view kSha256 = "2.16.840.1.101.3.4.2.1";
constexpr std::string_view kHmacWithSha256 = "1.2.840.113549.2.9";

// PBMParameter
Bytes encode_parameters(BytesView salt) {
  return der::sequence({der::octet_string(salt), der::sequence({der::object_identifier(kSha256)}),
                        der::small_integer(kRounds),
                        der::sequence({der::object_identifier(kHmacWithSha256)})});
}

Bytes encode_algorithm(BytesView salt) {
  return der::sequence({der::object_identifier(kPasswordBasedMac), encode_parameters(salt)});
}

// Of this algorithm, which is one of ours in all but its salt.
std::optional<Bytes> salt_in(BytesView algorithm) {
  constexpr const char* kWhat = "the algorithm of its protection";
  Bytes salt;
  try {
    der::Reader parts = der::Reader(algorithm, kNotAMessage).enter(der::kSequence, kWhat);
    parts.take();
    BytesView octets = parts.enter(der::kSequence, kWhat).take(der::kOctetString, kWhat);
    salt.assign(octets.begin(), octets.end());
  } catch (const Error&) {
    return std::nullopt;
  }
  if (!equal(encode_algorithm(salt), algorithm)) return std::nullopt;
  return salt;
}

}  // namespace

Bytes new_mac_algorithm() {
  return encode_algorithm(random_bytes(kSaltSize));
}

std::optional<Bytes> mac_of(BytesView bytes, BytesView algorithm, std::string_view secret) {
  std::optional<Bytes> salt = salt_in(algorithm);
  if (!salt) return std::nullopt;
  using ParametersPtr = std::unique_ptr<OSSL_CRMF_PBMPARAMETER, FreeWith<OSSL_CRMF_PBMPARAMETER_free>>;
  Bytes encoded = encode_parameters(*salt);
  const std::uint8_t* begin = encoded.data();
  ParametersPtr parameters(d2i_OSSL_CRMF_PBMPARAMETER(nullptr, &begin, static_cast<long>(encoded.size())));
  unsigned char* mac = nullptr;
  std::size_t size = 0;
  if (!parameters || OSSL_CRMF_pbm_new(nullptr, nullptr, parameters.get(), bytes.data(), bytes.size(),
                                       as_bytes(secret).data(), secret.size(), &mac, &size) != 1) {
    throw openssl_error(ErrorCode::internal, "OpenSSL makes no MAC", "report this");
  }
  Bytes result(mac, mac + size);
  OPENSSL_free(mac);
  return result;
}

}  // namespace fleetroot::cmp
