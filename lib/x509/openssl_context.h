// OpenSSL, reduced to what certificates of ours and TLS need. OpenSSL 3 goes through every algorithm that it
// has whenever it meets a public key, which costs several times the signature check that follows; and what is
// not there cannot be used by mistake.
#pragma once

#include <openssl/asn1.h>

namespace fleetroot {

// A library context with parts of OpenSSL's own default provider in it: the SHA-2 family, what TLS 1.2
// and 1.3 encrypt and agree on keys with, and of keys EC, RSA and Ed25519, read and written only as
// SubjectPublicKeyInfo in DER. A certificate that has another key parses, and has no key then. The keys of
// tokens sign here (pkcs11/provider.h), and in no other context. Made on first use, lives as long as the
// process; any thread. PKCS#11 modules keep OpenSSL's own context. Error(internal) if OpenSSL refuses.
OSSL_LIB_CTX* openssl_context();

// One that knows nothing.
OSSL_LIB_CTX* empty_openssl_context();

// What OpenSSL's readers do (ASN1_item_d2i), but public keys inside are left as they are written: finding out
// what they are costs more than all the rest. Null where it fails.
template <typename Object>
Object* parse_without_keys(const ASN1_ITEM* type, const unsigned char** in, long size) {
  return reinterpret_cast<Object*>(
      ASN1_item_d2i_ex(nullptr, in, size, type, empty_openssl_context(), nullptr));
}

}  // namespace fleetroot
