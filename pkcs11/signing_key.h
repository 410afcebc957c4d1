// A key in a token that signs for OpenSSL, from configuration to EVP_PKEY in one object: what a CA, a station
// and a gateway need for their own key. A device's token is driven by Module, Token and Session instead.
#pragma once

#include <memory>

#include "lib/x509/public_key.h"
#include "pkcs11/key_policy.h"
#include "pkcs11/provider.h"
#include "pkcs11/token_settings.h"

namespace fleetroot::pkcs11 {

// Owns the module, a logged-in session and the key. Move-only, one thread. While it lives no other SigningKey
// of the same module may live in this process: the module has one owner.
class SigningKey {
 public:
  // Generates the pair in the token, audits it and proves it (sign, verify in software).
  // Error(token_foreign_object) if an object with the same ID or label is there already. When it throws, the
  // token is as it was.
  static SigningKey generate(const TokenSettings& settings, KeyAlgorithm algorithm, const KeyName& name);
  // What generate() made, while nobody has a certificate for it. False if it is still there.
  static bool take_back(const TokenSettings& settings, const KeyName& name) noexcept;
  // Finds the one private key with this ID. Error(token_absent, pin_*, configuration, token_untrusted).
  static SigningKey open(const TokenSettings& settings, const KeyId& id);
  SigningKey(SigningKey&&) noexcept;
  SigningKey& operator=(SigningKey&&) noexcept;
  ~SigningKey();

  const PublicKey& public_key() const;
  // For X509_sign, X509_REQ_sign, CMS, CMP, TLS. Made when first asked for; lives as long as this object.
  EVP_PKEY* evp() const;
  // One signature without OpenSSL, for a process that signs on behalf of another.
  Bytes sign(const SignatureInput& input) const;

 private:
  struct State;
  explicit SigningKey(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fleetroot::pkcs11
