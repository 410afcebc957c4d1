#include "lib/x509/openssl.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <ctime>

#include "lib/x509/openssl_context.h"

namespace fleetroot {

void begin_openssl() {
  OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, nullptr);
}

std::string take_openssl_errors() {
  std::string text;
  const char* data = nullptr;
  int flags = 0;
  while (unsigned long code = ERR_get_error_all(nullptr, nullptr, nullptr, &data, &flags)) {
    const char* reason = ERR_reason_error_string(code);
    if (!text.empty()) text += "; ";
    text += reason != nullptr ? reason : "unknown OpenSSL error";
    if ((flags & ERR_TXT_STRING) != 0 && data != nullptr && *data != '\0') text += std::string(": ") + data;
  }
  return text;
}

Error openssl_error(ErrorCode code, std::string message, std::string hint) {
  return {code, std::move(message), std::move(hint), take_openssl_errors()};
}

Bytes sha256(BytesView bytes) {
  // SHA256() would look for it each time, which costs more than a short text's digest.
  static EVP_MD* const algorithm = EVP_MD_fetch(openssl_context(), "SHA2-256", nullptr);
  Bytes digest(SHA256_DIGEST_LENGTH);
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, algorithm, nullptr) != 1) {
    throw openssl_error(ErrorCode::internal, "OpenSSL makes no digest", "report this");
  }
  return digest;
}

std::string sha256_hex(BytesView bytes) {
  return to_hex(sha256(bytes));
}

Bytes random_bytes(std::size_t size) {
  Bytes bytes(size);
  if (RAND_bytes(bytes.data(), static_cast<int>(size)) != 1) {
    throw openssl_error(ErrorCode::internal, "the system gives no random numbers", "check /dev/urandom");
  }
  return bytes;
}

std::string to_base64(BytesView bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes.data(),
                             static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

std::optional<Bytes> from_base64(std::string_view text) {
  Bytes bytes(text.size() / 4 * 3);
  int size = EVP_DecodeBlock(bytes.data(), as_bytes(text).data(), static_cast<int>(text.size()));
  if (size < 0) return std::nullopt;
  std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  bytes.resize(static_cast<std::size_t>(size) - std::min(padding, static_cast<std::size_t>(size)));
  if (to_base64(bytes) != text) return std::nullopt;
  return bytes;
}

std::optional<Bytes> from_wrapped_base64(BytesView text) {
  using EncodingPtr = std::unique_ptr<EVP_ENCODE_CTX, FreeWith<EVP_ENCODE_CTX_free>>;
  EncodingPtr context(EVP_ENCODE_CTX_new());
  EVP_DecodeInit(context.get());
  Bytes bytes(text.size() + 3);
  int size = 0;
  int rest = 0;
  bool good =
      EVP_DecodeUpdate(context.get(), bytes.data(), &size, text.data(), static_cast<int>(text.size())) >= 0 &&
      EVP_DecodeFinal(context.get(), bytes.data() + size, &rest) == 1;
  take_openssl_errors();
  if (!good || size + rest == 0) return std::nullopt;
  bytes.resize(static_cast<std::size_t>(size) + static_cast<std::size_t>(rest));
  return bytes;
}

Time to_time(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) {
    throw openssl_error(ErrorCode::bad_request, "a time is not valid", "make the certificate again");
  }
  return Time(std::chrono::seconds(timegm(&parts)));
}

}  // namespace fleetroot
