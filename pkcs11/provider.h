// An OpenSSL provider inside this process: its keys are references to something that signs (a key in a token,
// here or in another process), so that plain X509_sign, X509_REQ_sign, CMS, CMP and TLS work with keys that
// nobody can read. It exports the public half and refuses everything else.
#pragma once

#include <memory>

#include "lib/x509/openssl.h"
#include "lib/x509/public_key.h"

namespace fleetroot::pkcs11 {

enum class SignatureScheme : std::uint8_t { ecdsa = 0, rsa_pkcs1 = 1, rsa_pss = 2, ed25519 = 3 };

struct SignatureInput {
  SignatureScheme scheme;
  // The digest's NID (NID_sha256 …) and value; for Ed25519 NID_undef and the message itself.
  int digest_nid = NID_undef;
  Bytes data;
};

// Something that holds a private key. Called from the thread that signs; an exception becomes a failed
// signature, whose words OpenSSL's error queue carries, and an Error what let_openssl_sign() throws on.
class Signer {
 public:
  virtual ~Signer() = default;
  // ECDSA as DER, RSA as the modulus' length, Ed25519 as 64 bytes.
  virtual Bytes sign(const SignatureInput& input) = 0;
};

// An EVP_PKEY that looks like its public key and signs through `signer`; it verifies nothing, so what is
// built with it is parsed anew before it is verified. Loads the provider on first use and keeps it for the
// life of the process. The signer is shared, because OpenSSL counts references to keys on its own.
EvpPkeyPtr make_signing_evp(const PublicKey& public_key, std::shared_ptr<Signer> signer);

}  // namespace fleetroot::pkcs11
