#include "factory-ca/est.h"

namespace fleetroot::ca {
namespace {

constexpr std::string_view kEstPath = "/.well-known/est/";

std::optional<EstOperation> parse_operation(std::string_view word) {
  if (word == "cacerts") return EstOperation::cacerts;
  if (word == "simpleenroll") return EstOperation::enroll;
  if (word == "simplereenroll") return EstOperation::reenroll;
  if (word == "csrattrs") return EstOperation::csrattrs;
  return std::nullopt;
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

// RFC 7030 section 4.5.2: id-ecPublicKey with secp256r1, and ecdsa-with-SHA256.
Bytes csr_attributes() {
  std::string text =
      to_base64(*from_hex("3021"
                          "301506072a8648ce3d0201310a06082a8648ce3d030107"
                          "06082a8648ce3d040302"));
  return {text.begin(), text.end()};
}

Bytes decode_base64(BytesView text) {
  if (std::optional<Bytes> bytes = from_wrapped_base64(text)) return *std::move(bytes);
  throw Error(ErrorCode::bad_request, "the request is not in base64",
              "send it as RFC 7030 section 4.2.1 says");
}

}  // namespace fleetroot::ca
