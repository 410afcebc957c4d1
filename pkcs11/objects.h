// What lies on a token: the inventory that a plan records, and certificate objects.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <vector>

#include "lib/x509/certificate.h"
#include "pkcs11/key_policy.h"
#include "pkcs11/session.h"

namespace fleetroot::pkcs11 {

// Unfinished: without a class yet, as a kill leaves an object that was being written. Journals hold these
// numbers; older ones have 5 for what is 6 now, too.
enum class ObjectClass {
  data = 0,
  certificate = 1,
  public_key = 2,
  private_key = 3,
  secret_key = 4,
  unfinished = 5,
  other = 6
};
std::string_view name_of(ObjectClass object_class);

// What tells one object from another across sessions, where handles mean nothing.
struct ObjectIdentity {
  ObjectClass object_class = ObjectClass::other;
  std::string id_hex;
  std::string label;
  // SHA-256 of CKA_VALUE (certificates, data), CKA_EC_POINT or CKA_MODULUS; empty where none can be read.
  std::string digest;
  auto operator<=>(const ObjectIdentity&) const = default;
};

struct TokenObject {
  ObjectHandle handle = 0;
  ObjectIdentity identity;
};

// Every object that the token shows, private ones only when logged in, unfinished ones too. Session objects
// of this process would be among them; it makes none.
std::vector<TokenObject> inventory(const Session& session);

// The objects whose identity is not in `known`, duplicates counted.
std::vector<TokenObject> objects_not_in(const std::vector<TokenObject>& objects,
                                        std::vector<ObjectIdentity> known);

// Writes a certificate object (PKCS#11 2.40 section 4.6.3). Some tokens answer OK and store nothing: read it
// back in a new session before believing it.
void store_certificate(const Session& session, const Certificate& certificate, const KeyName& name);

// The certificates under this CKA_ID, as the bytes that the token gives.
std::vector<Bytes> read_certificates(const Session& session, const KeyId& id);

}  // namespace fleetroot::pkcs11
