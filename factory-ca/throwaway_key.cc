#include "factory-ca/throwaway_key.h"

#include <map>

namespace fleetroot::ca {
namespace {

EvpPkeyPtr generate(KeyAlgorithm algorithm) {
  EvpPkeyPtr key(
      algorithm == KeyAlgorithm::ed25519
          ? EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")
          : EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", algorithm == KeyAlgorithm::p384 ? "P-384" : "P-256"));
  if (!key) throw openssl_error(ErrorCode::internal, "cannot make a throw-away key", "report this");
  return key;
}

Bytes sign(EVP_PKEY* key, KeyAlgorithm algorithm, BytesView message) {
  EvpMdCtxPtr context(EVP_MD_CTX_new());
  Bytes signature(static_cast<std::size_t>(EVP_PKEY_get_size(key)));
  std::size_t size = signature.size();
  if (EVP_DigestSignInit(context.get(), nullptr, digest_for(algorithm), nullptr, key) != 1 ||
      EVP_DigestSign(context.get(), signature.data(), &size, message.data(), message.size()) != 1) {
    throw openssl_error(ErrorCode::internal, "cannot sign with a throw-away key", "report this");
  }
  signature.resize(size);
  return signature;
}

}  // namespace

Bytes throwaway_signature(KeyAlgorithm algorithm, BytesView tbs) {
  if (algorithm == KeyAlgorithm::rsa2048) return Bytes(256, 0x5a);
  if (algorithm == KeyAlgorithm::rsa3072) return Bytes(384, 0x5a);
  static thread_local std::map<KeyAlgorithm, EvpPkeyPtr> keys;
  EvpPkeyPtr& key = keys[algorithm];
  if (!key) key = generate(algorithm);
  return sign(key.get(), algorithm, tbs);
}

}  // namespace fleetroot::ca
