// OpenSSL's CMP handles as owners.
#pragma once

#include <openssl/cmp.h>

#include "lib/x509/openssl.h"

namespace fleetroot::cmp {

using CmpCtxPtr = std::unique_ptr<OSSL_CMP_CTX, FreeWith<OSSL_CMP_CTX_free>>;
using CmpSrvCtxPtr = std::unique_ptr<OSSL_CMP_SRV_CTX, FreeWith<OSSL_CMP_SRV_CTX_free>>;
using CmpMessagePtr = std::unique_ptr<OSSL_CMP_MSG, FreeWith<OSSL_CMP_MSG_free>>;

// RFC 4210 section 5.1.2; OpenSSL keeps its names for these to itself.
enum OpenSslBodyType { kCp = 3, kP10cr = 4, kPkiConf = 19, kErrorBody = 23, kCertConf = 24 };

// Error(protocol) unless the bytes are exactly one PKIMessage.
inline CmpMessagePtr parse_openssl_message(BytesView der) {
  const unsigned char* in = der.data();
  CmpMessagePtr message(d2i_OSSL_CMP_MSG(nullptr, &in, static_cast<long>(der.size())));
  if (message && in == der.data() + der.size()) return message;
  throw openssl_error(ErrorCode::protocol, "OpenSSL reads no CMP message in this", "look at the bytes");
}

}  // namespace fleetroot::cmp
