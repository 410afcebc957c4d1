// Key pairs in a token: made there, audited, proven, and used to sign. A private key is only ever a handle
// here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/x509/public_key.h"
#include "pkcs11/key_policy.h"
#include "pkcs11/provider.h"
#include "pkcs11/session.h"

namespace fleetroot::pkcs11 {

// Both halves under one CKA_ID. Handles are valid in the session that found them.
struct KeyPair {
  KeyName name;
  ObjectHandle private_key = 0;
  ObjectHandle public_key_object = 0;
  PublicKey public_key;
};

// A private key's attributes as the token reports them; unreported, it is extractable, and the rest false.
struct KeyAttributes {
  bool is_token_object = false;
  bool is_private = false;
  bool is_sensitive = false;
  bool always_sensitive = false;
  bool is_extractable = false;
  bool never_extractable = false;
  bool is_local = false;
  bool can_sign = false;
  bool wants_pin_each_time = false;
  bool can_decrypt = false;
  bool can_unwrap = false;
  bool can_derive = false;
  bool value_is_unreadable = false;
};

// The mechanism that generates this kind ("CKM_EC_KEY_PAIR_GEN"), for reports.
std::string_view generation_mechanism_name(KeyAlgorithm algorithm);

// Error(token_untrusted) if the token cannot generate this kind, before anything is written.
void refuse_unless_supported(const Session& session, KeyAlgorithm algorithm);

// C_GenerateKeyPair with a template that says sensitive, not extractable, and sign only where the module
// takes that. Neither audited nor proven yet.
KeyPair generate_key_pair(const Session& session, KeyAlgorithm algorithm, const KeyName& name);

// The one pair under this ID. Nothing if there is no object of either half; Error(token_untrusted) if there
// is half a pair, more than one, or a public key that cannot be read.
std::optional<KeyPair> find_key_pair(const Session& session, const KeyId& id);

// Whether there is any, whole or not.
bool has_private_key(const Session& session, const KeyId& id);

KeyAttributes read_attributes(const Session& session, const KeyPair& pair);

// What is wrong with the key, one sentence each; empty if it is sensitive, never extractable, made in the
// token, and good for signing only. What the module's profile calls unreliable is not held against it.
std::vector<std::string> audit(const ModuleProfile& profile, const KeyAttributes& attributes);
// The same of a sound key, for a report; what the module does not say is not in it.
std::string describe(const KeyAttributes& sound);
// Throws Error(token_untrusted) with all that audit() says.
void refuse_unless_sound(const Session& session, const KeyPair& pair);

// The token signs a random nonce, and software verifies it with the public key. Error(token_untrusted) if
// not.
void prove_pair(const Session& session, const KeyPair& pair);

// Signs in the token: ECDSA as DER, RSA, Ed25519.
Bytes sign(const Session& session, const KeyPair& pair, const SignatureInput& input);
// Hashes as the key kind wants, then signs.
Bytes sign_message(const Session& session, const KeyPair& pair, BytesView message);

// An EVP_PKEY that signs with this pair. `session` must outlive it.
EvpPkeyPtr make_signing_evp(const Session& session, const KeyPair& pair);

}  // namespace fleetroot::pkcs11
