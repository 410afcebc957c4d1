#include "factory-ca/est.h"

#include <openssl/pkcs7.h>

namespace fleetroot::ca {
namespace {

constexpr std::string_view kEstPath = "/.well-known/est/";

using Pkcs7Ptr = std::unique_ptr<PKCS7, FreeWith<PKCS7_free>>;
using EncodingPtr = std::unique_ptr<EVP_ENCODE_CTX, FreeWith<EVP_ENCODE_CTX_free>>;

std::optional<EstOperation> parse_operation(std::string_view word) {
  if (word == "cacerts") return EstOperation::cacerts;
  if (word == "simpleenroll" || word == "simplereenroll") return EstOperation::enroll;
  if (word == "csrattrs") return EstOperation::csrattrs;
  return std::nullopt;
}

// In one line: RFC 8951 section 3 wants readers to bear line ends, and strongSwan's does not.
Bytes in_base64(BytesView der) {
  std::string text = to_base64(der);
  return {text.begin(), text.end()};
}

}  // namespace

std::optional<EstPath> parse_est_path(std::string_view path) {
  if (!path.starts_with(kEstPath)) return std::nullopt;
  path.remove_prefix(kEstPath.size());
  std::optional<OrderId> order;
  if (std::size_t slash = path.find('/'); slash != std::string_view::npos) {
    try {
      order = OrderId::parse(path.substr(0, slash));
    } catch (const Error&) {
      return std::nullopt;
    }
    path.remove_prefix(slash + 1);
  }
  std::optional<EstOperation> operation = parse_operation(path);
  if (!operation) return std::nullopt;
  return EstPath{.operation = *operation, .order = order};
}

Bytes encode_certs_only(const std::vector<Certificate>& certificates) {
  Pkcs7Ptr pkcs7(PKCS7_new());
  bool good = pkcs7 && PKCS7_set_type(pkcs7.get(), NID_pkcs7_signed) == 1 &&
              PKCS7_content_new(pkcs7.get(), NID_pkcs7_data) == 1 && PKCS7_set_detached(pkcs7.get(), 1) == 1;
  for (const Certificate& certificate : certificates) {
    good = good && PKCS7_add_certificate(pkcs7.get(), certificate.x509()) == 1;
  }
  if (!good) throw openssl_error(ErrorCode::internal, "cannot make a PKCS#7 structure", "report this");
  return in_base64(to_der(i2d_PKCS7, static_cast<const PKCS7*>(pkcs7.get())));
}

// RFC 7030 section 4.5.2: id-ecPublicKey with secp256r1, and ecdsa-with-SHA256.
Bytes csr_attributes() {
  return in_base64(
      *from_hex("3021"
                "301506072a8648ce3d0201310a06082a8648ce3d030107"
                "06082a8648ce3d040302"));
}

Bytes decode_base64(BytesView text) {
  EncodingPtr context(EVP_ENCODE_CTX_new());
  EVP_DecodeInit(context.get());
  Bytes bytes(text.size() + 3);
  int size = 0;
  int rest = 0;
  bool good =
      EVP_DecodeUpdate(context.get(), bytes.data(), &size, text.data(), static_cast<int>(text.size())) >= 0 &&
      EVP_DecodeFinal(context.get(), bytes.data() + size, &rest) == 1;
  if (!good || size + rest == 0) {
    take_openssl_errors();
    throw Error(ErrorCode::bad_request, "the request is not in base64",
                "send it as RFC 7030 section 4.2.1 says");
  }
  bytes.resize(static_cast<std::size_t>(size) + static_cast<std::size_t>(rest));
  return bytes;
}

}  // namespace fleetroot::ca
