// Signatures as certificates and CMP messages carry them: the bytes, and the AlgorithmIdentifier that names
// how they were made. Pure functions; a key in a token is one thread's at a time.
#pragma once

#include <functional>
#include <optional>

#include "lib/x509/public_key.h"

namespace fleetroot {

// How a key of this kind signs here, as DER: with digest_for(algorithm), RSA as PKCS#1 v1.5.
const Bytes& algorithm_identifier_of(KeyAlgorithm algorithm);
// The signature of `key`, which is of this kind, over the message. Error as of let_openssl_sign().
Bytes sign_message(EVP_PKEY* key, KeyAlgorithm algorithm, BytesView message);

// Whether it is the signature of this key over the message, with this digest; null for Ed25519.
bool verifies(EVP_PKEY* key, const EVP_MD* digest, BytesView message, BytesView signature);
// The digest that an AlgorithmIdentifier names: ECDSA or RSA PKCS#1 v1.5 with SHA-256, SHA-384 or SHA-512,
// whatever the key's curve or size. Null for any other; not owned by the caller.
const EVP_MD* digest_of_signature(BytesView algorithm_identifier);
// False also for an algorithm that digest_of_signature() does not know, or that is not one of this key's.
bool is_signed_by(const PublicKey& key, BytesView algorithm_identifier, BytesView message,
                  BytesView signature);

// For keys whose private half lies elsewhere. OpenSSL knows failure, and nothing of exceptions: what such a
// key's side throws it keeps for its thread, and whoever had OpenSSL sign throws it on.
void keep_signing_error(const Error& error);
// `sign` is false where OpenSSL did not sign: throws the Error that was kept meanwhile, or else `otherwise`
// with OpenSSL's reason as its cause.
void let_openssl_sign(const std::function<bool()>& sign, const Error& otherwise);

}  // namespace fleetroot
