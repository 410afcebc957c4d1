#include "lib/x509/signature.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "lib/x509/openssl_context.h"

namespace fleetroot {
namespace {

// RFC 5758 section 3.2: ECDSA without parameters. RFC 4055 section 5: RSA with NULL, which section 2.1 has
// receivers take without, too.
struct SignatureAlgorithm {
  std::string_view identifier_hex;
  bool is_rsa;
  const EVP_MD* (*digest)();
};
constexpr std::array kAlgorithms{
    SignatureAlgorithm{"300a06082a8648ce3d040302", false, EVP_sha256},
    SignatureAlgorithm{"300a06082a8648ce3d040303", false, EVP_sha384},
    SignatureAlgorithm{"300a06082a8648ce3d040304", false, EVP_sha512},
    SignatureAlgorithm{"300d06092a864886f70d01010b0500", true, EVP_sha256},
    SignatureAlgorithm{"300d06092a864886f70d01010c0500", true, EVP_sha384},
    SignatureAlgorithm{"300d06092a864886f70d01010d0500", true, EVP_sha512},
    SignatureAlgorithm{"300b06092a864886f70d01010b", true, EVP_sha256},
    SignatureAlgorithm{"300b06092a864886f70d01010c", true, EVP_sha384},
    SignatureAlgorithm{"300b06092a864886f70d01010d", true, EVP_sha512},
};

const SignatureAlgorithm* find_algorithm(BytesView identifier) {
  std::string hex = to_hex(identifier);
  const auto* found = std::find_if(kAlgorithms.begin(), kAlgorithms.end(),
                                   [&](const SignatureAlgorithm& a) { return a.identifier_hex == hex; });
  return found == kAlgorithms.end() ? nullptr : found;
}

std::optional<Error>& kept_error() {
  thread_local std::optional<Error> error;
  return error;
}

}  // namespace

const Bytes& algorithm_identifier_of(KeyAlgorithm algorithm) {
  static const std::map<KeyAlgorithm, Bytes> algorithms{
      {KeyAlgorithm::p256, *from_hex("300a06082a8648ce3d040302")},
      {KeyAlgorithm::p384, *from_hex("300a06082a8648ce3d040303")},
      {KeyAlgorithm::rsa2048, *from_hex("300d06092a864886f70d01010b0500")},
      {KeyAlgorithm::rsa3072, *from_hex("300d06092a864886f70d01010b0500")},
      {KeyAlgorithm::ed25519, *from_hex("300506032b6570")},  // RFC 8410 section 3
  };
  return algorithms.at(algorithm);
}

Bytes sign_message(EVP_PKEY* key, KeyAlgorithm algorithm, BytesView message) {
  EvpMdCtxPtr context(EVP_MD_CTX_new());
  Bytes signature(static_cast<std::size_t>(std::max(EVP_PKEY_get_size(key), 0)));
  std::size_t size = signature.size();
  const EVP_MD* digest = digest_for(algorithm);
  const char* digest_name = digest == nullptr ? nullptr : EVP_MD_get0_name(digest);
  let_openssl_sign(
      [&] {
        return EVP_DigestSignInit_ex(context.get(), nullptr, digest_name, openssl_context(), nullptr, key,
                                     nullptr) == 1 &&
               EVP_DigestSign(context.get(), signature.data(), &size, message.data(), message.size()) == 1;
      },
      {ErrorCode::token_untrusted, "the token did not sign",
       "check the token, then run the same command again"});
  signature.resize(size);
  return signature;
}

void keep_signing_error(const Error& error) {
  kept_error() = error;
}

void let_openssl_sign(const std::function<bool()>& sign, const Error& otherwise) {
  kept_error().reset();
  if (sign()) return;
  std::string reasons = take_openssl_errors();
  if (kept_error()) throw Error(*std::exchange(kept_error(), {}));
  throw Error(otherwise.code(), otherwise.message(), otherwise.hint(), std::move(reasons));
}

bool verifies(EVP_PKEY* key, const EVP_MD* digest, BytesView message, BytesView signature) {
  EvpMdCtxPtr context(EVP_MD_CTX_new());
  const char* digest_name = digest == nullptr ? nullptr : EVP_MD_get0_name(digest);
  bool good = EVP_DigestVerifyInit_ex(context.get(), nullptr, digest_name, openssl_context(), nullptr, key,
                                      nullptr) == 1 &&
              EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(),
                               message.size()) == 1;
  take_openssl_errors();
  return good;
}

const EVP_MD* digest_of_signature(BytesView algorithm_identifier) {
  const SignatureAlgorithm* algorithm = find_algorithm(algorithm_identifier);
  return algorithm == nullptr ? nullptr : algorithm->digest();
}

bool is_signed_by(const PublicKey& key, BytesView algorithm_identifier, BytesView message,
                  BytesView signature) {
  const SignatureAlgorithm* algorithm = find_algorithm(algorithm_identifier);
  bool is_rsa = key.algorithm() == KeyAlgorithm::rsa2048 || key.algorithm() == KeyAlgorithm::rsa3072;
  bool is_ed25519 = key.algorithm() == KeyAlgorithm::ed25519;
  if (algorithm == nullptr || is_ed25519 || algorithm->is_rsa != is_rsa) return false;
  return verifies(key.evp(), algorithm->digest(), message, signature);
}

}  // namespace fleetroot
