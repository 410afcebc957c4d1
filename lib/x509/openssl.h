// OpenSSL's C handles as owners, and its error queue as an Error.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"

namespace fleetroot {

template <auto Free>
struct FreeWith {
  template <typename T>
  void operator()(T* handle) const {
    Free(handle);
  }
};

using Asn1IntegerPtr = std::unique_ptr<ASN1_INTEGER, FreeWith<ASN1_INTEGER_free>>;
using Asn1ObjectPtr = std::unique_ptr<ASN1_OBJECT, FreeWith<ASN1_OBJECT_free>>;
using Asn1TimePtr = std::unique_ptr<ASN1_TIME, FreeWith<ASN1_TIME_free>>;
using BignumPtr = std::unique_ptr<BIGNUM, FreeWith<BN_free>>;
using BioPtr = std::unique_ptr<BIO, FreeWith<BIO_free_all>>;
using EvpMdCtxPtr = std::unique_ptr<EVP_MD_CTX, FreeWith<EVP_MD_CTX_free>>;
using EvpPkeyCtxPtr = std::unique_ptr<EVP_PKEY_CTX, FreeWith<EVP_PKEY_CTX_free>>;
using EvpPkeyPtr = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using X509ExtensionPtr = std::unique_ptr<X509_EXTENSION, FreeWith<X509_EXTENSION_free>>;
using X509NamePtr = std::unique_ptr<X509_NAME, FreeWith<X509_NAME_free>>;
using X509Ptr = std::unique_ptr<X509, FreeWith<X509_free>>;
using X509ReqPtr = std::unique_ptr<X509_REQ, FreeWith<X509_REQ_free>>;
using X509StoreCtxPtr = std::unique_ptr<X509_STORE_CTX, FreeWith<X509_STORE_CTX_free>>;
using X509StorePtr = std::unique_ptr<X509_STORE, FreeWith<X509_STORE_free>>;

struct FreeX509Stack {
  void operator()(STACK_OF(X509) * stack) const { sk_X509_pop_free(stack, X509_free); }
};
using X509StackPtr = std::unique_ptr<STACK_OF(X509), FreeX509Stack>;

// Before any other use of OpenSSL in a program: no configuration file, whose place the environment names and
// which can load code into a process that holds keys.
void begin_openssl();

// Takes everything off this thread's error queue: "reason one; reason two".
std::string take_openssl_errors();
// An Error whose cause is the error queue.
Error openssl_error(ErrorCode code, std::string message, std::string hint);

// The DER encoding through one of OpenSSL's i2d functions.
template <typename T>
Bytes to_der(int (*i2d)(const T*, unsigned char**), const T* object) {
  int size = i2d(object, nullptr);
  if (size <= 0) throw openssl_error(ErrorCode::internal, "cannot encode an ASN.1 structure", "report this");
  Bytes der(static_cast<std::size_t>(size));
  unsigned char* out = der.data();
  i2d(object, &out);
  return der;
}

Bytes sha256(BytesView bytes);
std::string sha256_hex(BytesView bytes);
// `size` bytes of the system's cryptographic randomness.
Bytes random_bytes(std::size_t size);
std::string to_base64(BytesView bytes);
// The reverse; nothing unless the text is exactly what to_base64() makes of some bytes.
std::optional<Bytes> from_base64(std::string_view text);
// The same of what others make: line ends and blanks may be anywhere (RFC 8951). Nothing for no bytes at all.
std::optional<Bytes> from_wrapped_base64(BytesView text);

Time to_time(const ASN1_TIME* time);

}  // namespace fleetroot
