// What is carried on removable media: some bytes, and the signature of whoever made them, as one CMS
// SignedData (RFC 5652) that `openssl cms -verify -inform DER` reads. Pure functions; may be called from
// several threads.
//
// There is one way to write a document, and no other is read: DER; the content attached; SHA-256, SHA-384 or
// SHA-512; one signer, named by its subject key identifier, with signed attributes and its certificate and no
// other beside it; no unsigned attributes, no CRLs. So no byte of a document can change without its being
// refused, but for the signature itself: who has no key can still make a second ECDSA signature of one (r,
// n-s of r, s). So a document is known by the digest of its content, never by that of its bytes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/x509/certificate.h"

namespace fleetroot::media {

// Ten thousand requests of RSA-3072 devices in base64 are 50 MiB.
inline constexpr std::size_t kMaximumDocumentSize = 64 << 20;

// `key` is the certificate's, and may be one in a token. Error(configuration) for an Ed25519 key, with which
// OpenSSL 3.0 makes no CMS, and for a certificate without a subject key identifier; Error(internal) if the
// key does not sign, or what its token says of that.
Bytes sign_document(BytesView content, const Certificate& signer, EVP_PKEY* key);

// The certificates that have this subject key identifier, from where the caller trusts them: one, or several
// of one key that was certified again. Throws Error where it knows none.
using FindSigner = std::function<std::vector<Certificate>(BytesView key_id)>;

// The content, if exactly one of the certificates that `find_signer` returns signed it. Whether that one is
// valid now is the caller's to say. Error(bundle_damaged) for all else that is wrong.
std::string verify_document(BytesView document, const FindSigner& find_signer,
                            std::size_t maximum = kMaximumDocumentSize);
// The same, where the signer must be one of these; Error(bundle_foreign) if it is another.
std::string verify_document(BytesView document, const std::vector<Certificate>& pinned);

// The content of a document that is known by its digest, whoever signed it: the certificate in it is
// believed. Error(bundle_damaged).
std::string content_of(BytesView document);

}  // namespace fleetroot::media
