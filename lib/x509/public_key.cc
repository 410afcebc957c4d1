#include "lib/x509/public_key.h"

#include <fmt/format.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <cctype>

#include "lib/x509/openssl_context.h"
#include "lib/x509/signature.h"

namespace fleetroot {
namespace {

using ParamBuilderPtr = std::unique_ptr<OSSL_PARAM_BLD, FreeWith<OSSL_PARAM_BLD_free>>;
using ParamsPtr = std::unique_ptr<OSSL_PARAM, FreeWith<OSSL_PARAM_free>>;

// DER leaves each of our key kinds exactly one SubjectPublicKeyInfo: a fixed prefix, the key's octets, and
// for RSA a fixed exponent. Comparing with it is stricter than any parser, and costs nothing.
struct Shape {
  KeyAlgorithm algorithm;
  std::string_view name;
  std::string_view prefix_hex;
  std::size_t key_size;
  std::string_view suffix_hex;
};

constexpr std::array kShapes{
    Shape{KeyAlgorithm::p256, "p256", "3059301306072a8648ce3d020106082a8648ce3d030107034200", 65, ""},
    Shape{KeyAlgorithm::p384, "p384", "3076301006072a8648ce3d020106052b81040022036200", 97, ""},
    Shape{KeyAlgorithm::rsa2048, "rsa2048",
          "30820122300d06092a864886f70d01010105000382010f003082010a0282010100", 256, "0203010001"},
    Shape{KeyAlgorithm::rsa3072, "rsa3072",
          "308201a2300d06092a864886f70d01010105000382018f003082018a0282018100", 384, "0203010001"},
    Shape{KeyAlgorithm::ed25519, "ed25519", "302a300506032b6570032100", 32, ""},
};

constexpr const char* kKnownKeys = "use a P-256, P-384, RSA-2048, RSA-3072 or Ed25519 key";

const Shape& shape_of(KeyAlgorithm algorithm) {
  return *std::find_if(kShapes.begin(), kShapes.end(),
                       [&](const Shape& s) { return s.algorithm == algorithm; });
}

bool is_rsa(KeyAlgorithm algorithm) {
  return algorithm == KeyAlgorithm::rsa2048 || algorithm == KeyAlgorithm::rsa3072;
}

Bytes encode(const Shape& shape, BytesView key) {
  Bytes spki = *from_hex(shape.prefix_hex);
  spki.insert(spki.end(), key.begin(), key.end());
  Bytes suffix = *from_hex(shape.suffix_hex);
  spki.insert(spki.end(), suffix.begin(), suffix.end());
  return spki;
}

// What the refused key is, as far as OpenSSL can say, for the person who has to find out where it came from.
std::string describe(BytesView spki) {
  const unsigned char* in = spki.data();
  EvpPkeyPtr key(d2i_PUBKEY(nullptr, &in, static_cast<long>(spki.size())));
  std::string text = "unreadable";
  if (key && in == spki.data() + spki.size()) {
    text = fmt::format("{} with {} bits", EVP_PKEY_get0_type_name(key.get()), EVP_PKEY_get_bits(key.get()));
    char encoding[32] = "";
    EVP_PKEY_get_utf8_string_param(key.get(), OSSL_PKEY_PARAM_EC_ENCODING, encoding, sizeof encoding,
                                   nullptr);
    if (std::string_view(encoding) == "explicit") text += " and explicit curve parameters";
  }
  take_openssl_errors();
  return text;
}

EvpPkeyPtr from_params(const char* type, int selection, OSSL_PARAM_BLD* builder) {
  ParamsPtr params(OSSL_PARAM_BLD_to_param(builder));
  EvpPkeyCtxPtr context(EVP_PKEY_CTX_new_from_name(openssl_context(), type, nullptr));
  EVP_PKEY* key = nullptr;
  if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, selection, params.get()) != 1) {
    throw openssl_error(ErrorCode::bad_request, "the public key is not valid", kKnownKeys);
  }
  return EvpPkeyPtr(key);
}

EvpPkeyPtr make_group(std::string_view name) {
  ParamBuilderPtr builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, name.data(), name.size());
  return from_params("EC", EVP_PKEY_KEY_PARAMETERS, builder.get());
}

// Set up once: that costs as much as half a verification.
EVP_PKEY* group_of(KeyAlgorithm algorithm) {
  if (algorithm == KeyAlgorithm::p384) {
    static const EvpPkeyPtr p384 = make_group("P-384");
    return p384.get();
  }
  static const EvpPkeyPtr p256 = make_group("P-256");
  return p256.get();
}

// OpenSSL checks that the point is on the curve.
EvpPkeyPtr make_ec(KeyAlgorithm algorithm, BytesView point) {
  EvpPkeyPtr key(EVP_PKEY_new());
  if (!key || EVP_PKEY_copy_parameters(key.get(), group_of(algorithm)) != 1 ||
      EVP_PKEY_set1_encoded_public_key(key.get(), point.data(), point.size()) != 1) {
    throw openssl_error(ErrorCode::bad_request, "the public key is not valid", kKnownKeys);
  }
  return key;
}

EvpPkeyPtr make_evp(const Shape& shape, BytesView key) {
  if (shape.algorithm == KeyAlgorithm::ed25519) {
    return EvpPkeyPtr(
        EVP_PKEY_new_raw_public_key_ex(openssl_context(), "ED25519", nullptr, key.data(), key.size()));
  }
  if (is_rsa(shape.algorithm)) {
    ParamBuilderPtr builder(OSSL_PARAM_BLD_new());
    BignumPtr modulus(BN_bin2bn(key.data(), static_cast<int>(key.size()), nullptr));
    if (BN_num_bits(modulus.get()) != static_cast<int>(key.size() * 8) || !BN_is_odd(modulus.get())) {
      throw Error(ErrorCode::bad_request, "the RSA modulus is not valid", kKnownKeys);
    }
    OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get());
    OSSL_PARAM_BLD_push_ulong(builder.get(), OSSL_PKEY_PARAM_RSA_E, RSA_F4);
    return from_params("RSA", EVP_PKEY_PUBLIC_KEY, builder.get());
  }
  if (key[0] != POINT_CONVERSION_UNCOMPRESSED) {
    throw Error(ErrorCode::bad_request, "the point of the EC key is compressed", "send it uncompressed");
  }
  return make_ec(shape.algorithm, key);
}

BytesView without_leading_zeros(BytesView number) {
  while (!number.empty() && number.front() == 0) number = number.subspan(1);
  return number;
}

}  // namespace

std::string_view name_of(KeyAlgorithm algorithm) {
  return shape_of(algorithm).name;
}

KeyAlgorithm parse_key_algorithm(std::string_view text) {
  std::string plain;
  for (char c : text) {
    if (c != '-') plain.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
  }
  for (const Shape& shape : kShapes) {
    if (shape.name == plain) return shape.algorithm;
  }
  throw Error(ErrorCode::usage, fmt::format("there is no key algorithm \"{}\"", text),
              "choose one of p256, p384, rsa2048, rsa3072, or, for a device's key, ed25519");
}

void refuse_unless_signs_messages(KeyAlgorithm algorithm) {
  if (algorithm != KeyAlgorithm::ed25519) return;
  throw Error(ErrorCode::usage,
              "a CA or a station cannot have an Ed25519 key: OpenSSL's CMP does not sign with it",
              "choose p256, p384, rsa2048 or rsa3072 here; devices may have ed25519");
}

const EVP_MD* digest_for(KeyAlgorithm algorithm) {
  if (algorithm == KeyAlgorithm::ed25519) return nullptr;
  return algorithm == KeyAlgorithm::p384 ? EVP_sha384() : EVP_sha256();
}

PublicKey::PublicKey(EvpPkeyPtr key, KeyAlgorithm algorithm, BytesView spki)
    : key_(std::move(key)),
      algorithm_(algorithm),
      spki_(spki.begin(), spki.end()),
      fingerprint_(sha256_hex(spki)) {}

PublicKey PublicKey::from_spki(BytesView spki) {
  for (const Shape& shape : kShapes) {
    std::size_t prefix = shape.prefix_hex.size() / 2;
    if (spki.size() != prefix + shape.key_size + shape.suffix_hex.size() / 2) continue;
    BytesView key = spki.subspan(prefix, shape.key_size);
    if (!equal(encode(shape, key), spki)) continue;
    EvpPkeyPtr evp = make_evp(shape, key);
    if (!evp) throw openssl_error(ErrorCode::bad_request, "the public key is not valid", kKnownKeys);
    return {std::move(evp), shape.algorithm, spki};
  }
  throw Error(ErrorCode::bad_request,
              fmt::format("the public key is of a kind that is not accepted: {}", describe(spki)),
              kKnownKeys);
}

PublicKey PublicKey::from_evp(EVP_PKEY* key) {
  return from_spki(to_der(i2d_PUBKEY, key));
}

PublicKey PublicKey::from_ec_point(KeyAlgorithm algorithm, BytesView point) {
  return from_spki(encode(shape_of(algorithm), point));
}

PublicKey PublicKey::from_rsa(BytesView modulus, BytesView exponent) {
  modulus = without_leading_zeros(modulus);
  static constexpr std::uint8_t kF4[] = {1, 0, 1};
  if (!equal(without_leading_zeros(exponent), kF4)) {
    throw Error(ErrorCode::bad_request, "the RSA key's public exponent is not 65537", kKnownKeys);
  }
  for (const Shape& shape : kShapes) {
    if (is_rsa(shape.algorithm) && shape.key_size == modulus.size()) return from_spki(encode(shape, modulus));
  }
  throw Error(ErrorCode::bad_request, fmt::format("the RSA key has {} bits", modulus.size() * 8), kKnownKeys);
}

PublicKey PublicKey::from_ed25519(BytesView raw) {
  return from_spki(encode(shape_of(KeyAlgorithm::ed25519), raw));
}

// SubjectPublicKeyInfo ::= SEQUENCE { algorithm, BIT STRING }. Ours have one of five fixed shapes, whose
// algorithm has a short length.
BytesView PublicKey::algorithm_identifier() const {
  std::size_t header = spki_[1] < 0x80 ? 2 : 2 + (spki_[1] & 0x7fU);
  return BytesView(spki_).subspan(header, 2 + spki_[header + 1]);
}

BytesView PublicKey::key_octets() const {
  BytesView algorithm = algorithm_identifier();
  BytesView bits =
      BytesView(spki_).subspan(static_cast<std::size_t>(algorithm.data() - spki_.data()) + algorithm.size());
  std::size_t header = bits[1] < 0x80 ? 2 : 2 + (bits[1] & 0x7fU);
  return bits.subspan(header + 1);  // behind the count of unused bits
}

bool PublicKey::verifies(BytesView message, BytesView signature) const {
  return fleetroot::verifies(key_.get(), digest_for(algorithm_), message, signature);
}

}  // namespace fleetroot
