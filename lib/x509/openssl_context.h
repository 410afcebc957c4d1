// OpenSSL, reduced to what certificates of ours and TLS need. OpenSSL 3 goes through every algorithm that it
// has whenever it meets a public key, which costs several times the signature check that follows; and what is
// not there cannot be used by mistake.
#pragma once

#include <openssl/types.h>

namespace fleetroot {

// A library context with parts of OpenSSL's own default provider in it: the SHA-2 family, what TLS 1.2
// and 1.3 encrypt and agree on keys with, and of keys EC, RSA and Ed25519, read and written only as
// SubjectPublicKeyInfo in DER. A certificate that has another key parses, and has no key then. The keys of
// tokens sign here (pkcs11/provider.h), and in no other context. Made on first use, lives as long as the
// process; any thread. PKCS#11 modules keep OpenSSL's own context. Error(internal) if OpenSSL refuses.
OSSL_LIB_CTX* openssl_context();

}  // namespace fleetroot
