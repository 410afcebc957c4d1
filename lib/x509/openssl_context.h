// OpenSSL, reduced to the keys that certificates of ours can have. OpenSSL 3 tries every key kind and every
// encoding that it knows whenever it meets a public key, which costs several times the signature check that
// follows; and what is not there cannot be used by mistake.
#pragma once

#include <openssl/types.h>

namespace fleetroot {

// A library context with OpenSSL's own default provider in it: all its digests, ciphers and signatures, but
// of keys only EC, RSA and Ed25519, read and written only as SubjectPublicKeyInfo in DER, and what TLS needs. A
// certificate that has another key parses, and has no key then. The keys of tokens sign here too
// (pkcs11/provider.h), and in no other context. Made on first use, lives as long as the process; any thread.
// PKCS#11 modules keep OpenSSL's own context. Error(internal) if OpenSSL refuses.
OSSL_LIB_CTX* openssl_context();

}  // namespace fleetroot
