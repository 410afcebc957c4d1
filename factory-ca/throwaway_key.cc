#include "factory-ca/throwaway_key.h"

#include <map>

#include "lib/x509/openssl_context.h"
#include "lib/x509/signature.h"

namespace fleetroot::ca {
namespace {

EvpPkeyPtr generate(KeyAlgorithm algorithm) {
  EvpPkeyPtr key(algorithm == KeyAlgorithm::ed25519
                     ? EVP_PKEY_Q_keygen(openssl_context(), nullptr, "ED25519")
                     : EVP_PKEY_Q_keygen(openssl_context(), nullptr, "EC",
                                         algorithm == KeyAlgorithm::p384 ? "P-384" : "P-256"));
  if (!key) throw openssl_error(ErrorCode::internal, "cannot make a throw-away key", "report this");
  return key;
}

}  // namespace

Bytes throwaway_signature(KeyAlgorithm algorithm, BytesView tbs) {
  if (algorithm == KeyAlgorithm::rsa2048) return Bytes(256, 0x5a);
  if (algorithm == KeyAlgorithm::rsa3072) return Bytes(384, 0x5a);
  static thread_local std::map<KeyAlgorithm, EvpPkeyPtr> keys;
  EvpPkeyPtr& key = keys[algorithm];
  if (!key) key = generate(algorithm);
  return sign_message(key.get(), algorithm, tbs);
}

}  // namespace fleetroot::ca
