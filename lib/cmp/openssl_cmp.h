// OpenSSL's CMP handles as owners, and what both sides of a transaction do with them. For this folder only.
#pragma once

#include <openssl/cmp.h>

#include "lib/x509/certificate.h"
#include "lib/x509/openssl.h"

namespace fleetroot::cmp {

using CmpCtxPtr = std::unique_ptr<OSSL_CMP_CTX, FreeWith<OSSL_CMP_CTX_free>>;
using CmpSrvCtxPtr = std::unique_ptr<OSSL_CMP_SRV_CTX, FreeWith<OSSL_CMP_SRV_CTX_free>>;
using CmpMessagePtr = std::unique_ptr<OSSL_CMP_MSG, FreeWith<OSSL_CMP_MSG_free>>;
using CmpStatusPtr = std::unique_ptr<OSSL_CMP_PKISI, FreeWith<OSSL_CMP_PKISI_free>>;

// RFC 4210 section 5.1.2; OpenSSL keeps its names for these to itself.
enum OpenSslBodyType { kCp = 3, kP10cr = 4, kPkiConf = 19, kErrorBody = 23, kCertConf = 24 };

// Error(protocol) unless the bytes are exactly one PKIMessage.
CmpMessagePtr parse_openssl_message(BytesView der);

// Error(configuration) for a key that OpenSSL 3.0 cannot protect a message with: Ed25519, which has no
// digest. A certificate may be requested for such a key all the same.
void refuse_unless_can_protect(const Certificate& certificate);

// Says who signs what `context` sends, and that nothing is printed: errors stay on OpenSSL's queue.
// False, with OpenSSL's queue filled, if OpenSSL refuses.
bool sign_as(OSSL_CMP_CTX* context, const Certificate& certificate, EVP_PKEY* key);

}  // namespace fleetroot::cmp
