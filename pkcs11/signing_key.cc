#include "pkcs11/signing_key.h"

#include "pkcs11/signing_token.h"

namespace fleetroot::pkcs11 {

// Destroyed from the bottom up: what signs before the token.
struct SigningKey::State {
  State(SigningToken opened, TokenKey found) : token(std::move(opened)), key(std::move(found)) {}

  SigningToken token;
  TokenKey key;
  EvpPkeyPtr evp;
};

SigningKey::SigningKey(std::unique_ptr<State> state) : state_(std::move(state)) {}
SigningKey::SigningKey(SigningKey&&) noexcept = default;
SigningKey& SigningKey::operator=(SigningKey&&) noexcept = default;
SigningKey::~SigningKey() = default;

SigningKey SigningKey::generate(const TokenSettings& settings, KeyAlgorithm algorithm, const KeyName& name) {
  SigningToken token(settings);
  TokenKey key = token.generate(algorithm, name);
  return SigningKey(std::make_unique<State>(std::move(token), std::move(key)));
}

bool SigningKey::take_back(const TokenSettings& settings, const KeyName& name) noexcept {
  try {
    SigningToken(settings).destroy(name);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

SigningKey SigningKey::open(const TokenSettings& settings, const KeyId& id) {
  SigningToken token(settings);
  TokenKey key = token.key(id);
  return SigningKey(std::make_unique<State>(std::move(token), std::move(key)));
}

const PublicKey& SigningKey::public_key() const {
  return state_->key.public_key;
}

EVP_PKEY* SigningKey::evp() const {
  if (!state_->evp) state_->evp = state_->key.evp();
  return state_->evp.get();
}

Bytes SigningKey::sign(const SignatureInput& input) const {
  return state_->key.signer->sign(input);
}

}  // namespace fleetroot::pkcs11
