#include "pkcs11/attributes.h"

#include <fmt/format.h>

#include <cstring>

namespace fleetroot::pkcs11 {
namespace {

// No attribute that is read here is longer; a token that says so lies.
constexpr CK_ULONG kMaximumAttributeSize = 1 << 20;

bool means_absent(CK_RV rv) {
  return rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE;
}

}  // namespace

std::optional<Bytes> read_attribute(const Session& session, ObjectHandle object, CK_ATTRIBUTE_TYPE type) {
  const CK_FUNCTION_LIST& functions = session.module().functions();
  // Most values fit; the rest costs a second call with the size that the first one told.
  Bytes value(512);
  CK_ATTRIBUTE attribute{type, value.data(), value.size()};
  CK_RV rv = functions.C_GetAttributeValue(session.handle(), object, &attribute, 1);
  if (rv == CKR_BUFFER_TOO_SMALL) {
    attribute = {type, nullptr, 0};
    rv = functions.C_GetAttributeValue(session.handle(), object, &attribute, 1);
    if (rv == CKR_OK && attribute.ulValueLen <= kMaximumAttributeSize) {
      value.resize(attribute.ulValueLen);
      attribute.pValue = value.data();
      rv = functions.C_GetAttributeValue(session.handle(), object, &attribute, 1);
    }
  }
  // SoftHSM says VALUE_INVALID of an object that a kill left without a single attribute.
  if (means_absent(rv) || rv == CKR_ATTRIBUTE_VALUE_INVALID) return std::nullopt;
  // Whatever else went wrong says nothing about the object, of which tokens say "unavailable" as well then.
  check(rv, "show an attribute");
  if (attribute.ulValueLen == kUnavailable) return std::nullopt;
  if (attribute.ulValueLen > value.size()) {
    throw Error(ErrorCode::token_untrusted, "the token says that an attribute is longer than it gives",
                "replace the token");
  }
  value.resize(attribute.ulValueLen);
  return value;
}

std::optional<bool> read_flag(const Session& session, ObjectHandle object, CK_ATTRIBUTE_TYPE type) {
  std::optional<Bytes> value = read_attribute(session, object, type);
  if (!value || value->empty()) return std::nullopt;
  if (value->size() != sizeof(CK_BBOOL)) {
    throw Error(ErrorCode::token_untrusted,
                fmt::format("the token shows a flag of {} bytes, where one belongs", value->size()),
                "replace the token");
  }
  return value->front() != CK_FALSE;
}

std::optional<CK_ULONG> read_number(const Session& session, ObjectHandle object, CK_ATTRIBUTE_TYPE type) {
  std::optional<Bytes> value = read_attribute(session, object, type);
  if (!value || value->size() != sizeof(CK_ULONG)) return std::nullopt;
  CK_ULONG number = 0;
  std::memcpy(&number, value->data(), sizeof number);
  return number;
}

bool is_unreadable(const Session& session, ObjectHandle object, CK_ATTRIBUTE_TYPE type) {
  Bytes value(1024);
  CK_ATTRIBUTE attribute{type, value.data(), value.size()};
  CK_RV rv = session.module().functions().C_GetAttributeValue(session.handle(), object, &attribute, 1);
  wipe(value.data(), value.size());
  if (!means_absent(rv) && rv != CKR_BUFFER_TOO_SMALL) check(rv, "show an attribute");
  return means_absent(rv) && (attribute.ulValueLen == kUnavailable || attribute.ulValueLen == 0);
}

}  // namespace fleetroot::pkcs11
