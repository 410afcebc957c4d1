// A key in a token that signs for OpenSSL, from configuration to EVP_PKEY in one object: what a CA, a station
// and a gateway need for their own key. A device's token is driven by Module, Token and Session instead.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "lib/x509/public_key.h"
#include "pkcs11/key_policy.h"
#include "pkcs11/provider.h"

namespace fleetroot::pkcs11 {

// Which token holds the key, as a home's configuration says it.
struct TokenSettings {
  std::string uri;
  // Relative pin-source files are relative to this.
  std::filesystem::path home;
  // Set for the embedded default: a directory made by create_softhsm_token(). It selects SoftHSM's
  // configuration for this process, so one process uses one such directory.
  std::optional<std::filesystem::path> softhsm_directory;
  // Module-specific initialisation string (NSS softokn wants one); usually empty.
  std::string init_args;
};

// Makes (or adds to) a directory of SoftHSM tokens: initialises a token called `label` with a random PIN,
// writes the PIN to `pin_file` (mode 0600), and syncs it all, because SoftHSM does not. Returns the settings
// that find it again; the URI in them names the token's serial number and the PIN file. `directory` and
// `pin_file` must lie in `home`. Error(configuration) if SoftHSM is not installed.
TokenSettings create_softhsm_token(const std::filesystem::path& home, const std::filesystem::path& directory,
                                   const std::string& label, const std::filesystem::path& pin_file);

// Owns the module, a logged-in session and the key. Move-only, one thread. While it lives no other SigningKey
// of the same module may live in this process: the module has one owner.
class SigningKey {
 public:
  // Generates the pair in the token, audits it and proves it (sign, verify in software).
  // Error(token_foreign_object) if an object with the same ID or label is there already.
  static SigningKey generate(const TokenSettings& settings, KeyAlgorithm algorithm, const KeyName& name);
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
