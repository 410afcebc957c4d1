// Reading attributes of one object; for the files of this folder.
#pragma once

#include <optional>

#include "pkcs11/cryptoki.h"
#include "pkcs11/session.h"

namespace fleetroot::pkcs11 {

// Nothing if the object has no such attribute, or it is sensitive; Error if the token fails.
std::optional<Bytes> read_attribute(const Session& session, ObjectHandle object, CK_ATTRIBUTE_TYPE type);
std::optional<bool> read_flag(const Session& session, ObjectHandle object, CK_ATTRIBUTE_TYPE type);
std::optional<CK_ULONG> read_number(const Session& session, ObjectHandle object, CK_ATTRIBUTE_TYPE type);
// Whether the token refuses to show a secret. Error if it fails.
bool is_unreadable(const Session& session, ObjectHandle object, CK_ATTRIBUTE_TYPE type);

}  // namespace fleetroot::pkcs11
