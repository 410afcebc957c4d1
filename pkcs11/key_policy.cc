#include "pkcs11/key_policy.h"

#include <fmt/format.h>

#include "lib/base/error.h"

namespace fleetroot::pkcs11 {
namespace {

KeyName name(std::uint8_t id, std::string label) {
  return {KeyId::from_bytes(BytesView(&id, 1)), std::move(label)};
}

}  // namespace

KeyId KeyId::from_bytes(BytesView bytes) {
  if (bytes.empty() || bytes.size() > 32) {
    throw Error(ErrorCode::usage, fmt::format("a key ID of {} bytes is not possible", bytes.size()),
                "use 1 to 32 bytes");
  }
  return KeyId(Bytes(bytes.begin(), bytes.end()));
}

KeyId KeyId::parse(std::string_view hex) {
  std::optional<Bytes> bytes = from_hex(hex);
  if (!bytes) {
    throw Error(ErrorCode::usage, fmt::format("\"{}\" is no key ID", hex),
                "write it in hexadecimal, like 01");
  }
  return from_bytes(*bytes);
}

KeyPolicy KeyPolicy::preset(std::string_view preset, KeyAlgorithm algorithm) {
  if (preset == "fleetroot") return {.specs = {{algorithm, name(1, "fleetroot"), name(1, "fleetroot")}}};
  if (preset == "aktualizr") {
    return {.specs = {{algorithm, name(2, "tls"), name(1, "tls")},
                      {KeyAlgorithm::rsa2048, name(3, "uptane"), std::nullopt}}};
  }
  if (preset == "lmp") return {.specs = {{algorithm, name(1, "tls"), name(3, "client")}}};
  throw Error(ErrorCode::usage, fmt::format("there is no key policy \"{}\"", preset),
              "choose one of fleetroot, aktualizr, lmp");
}

}  // namespace fleetroot::pkcs11
