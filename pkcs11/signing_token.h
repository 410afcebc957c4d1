// A token whose keys sign for OpenSSL: for a program that answers in several names, each with a key of its
// own, from several threads. A program with one key needs SigningKey only.
#pragma once

#include <chrono>
#include <memory>

#include "lib/x509/public_key.h"
#include "pkcs11/key_policy.h"
#include "pkcs11/provider.h"
#include "pkcs11/token_settings.h"

namespace fleetroot::pkcs11 {

struct KeyPair;

// One of its keys. Not to be used when the token has gone.
struct TokenKey {
  PublicKey public_key;
  std::shared_ptr<Signer> signer;
  // For X509_sign, TLS and the like.
  EvpPkeyPtr evp() const { return make_signing_evp(public_key, signer); }
};

// Owns the module and its sessions with the token, logged in: one, and more as threads sign at the same time,
// because a session does one thing at a time. While it lives no other owner of the same module may live in
// this process. Any thread; from a token that gives no more sessions, they take turns.
class SigningToken {
 public:
  // Error(token_absent, pin_*, configuration, module_unusable).
  explicit SigningToken(const TokenSettings& settings);
  SigningToken(SigningToken&&) noexcept;
  SigningToken& operator=(SigningToken&&) noexcept;
  ~SigningToken();

  // As SigningKey::generate.
  TokenKey generate(KeyAlgorithm algorithm, const KeyName& name);
  // Both halves of a pair that generate() made.
  void destroy(const KeyName& name);
  // Error(configuration) if there is no key with this ID, or it wants the PIN for each signature;
  // Error(token_untrusted) if it is not one whole pair.
  TokenKey key(const KeyId& id) const;

  // Once, for a program that serves: elsewhere whoever waits has a clock of his own. From a thread of its
  // own, `when_it_hangs` is told that the module has not come back from a signature for so long, and must end
  // the process.
  void watch(SigningFailure when_it_hangs, std::chrono::seconds limit = std::chrono::seconds(30));

 private:
  struct State;
  class Turn;
  class TurnTakingSigner;
  TokenKey make_key(KeyPair pair) const;
  std::unique_ptr<State> state_;
};

}  // namespace fleetroot::pkcs11
