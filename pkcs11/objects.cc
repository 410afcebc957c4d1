#include "pkcs11/objects.h"

#include <algorithm>

#include "pkcs11/attributes.h"
#include "pkcs11/cryptoki.h"

namespace fleetroot::pkcs11 {
namespace {

ObjectClass class_of(std::optional<CK_ULONG> number) {
  if (!number) return ObjectClass::unfinished;
  switch (*number) {
    case CKO_DATA:
      return ObjectClass::data;
    case CKO_CERTIFICATE:
      return ObjectClass::certificate;
    case CKO_PUBLIC_KEY:
      return ObjectClass::public_key;
    case CKO_PRIVATE_KEY:
      return ObjectClass::private_key;
    case CKO_SECRET_KEY:
      return ObjectClass::secret_key;
    default:
      return ObjectClass::other;
  }
}

// The attributes whose value tells two objects of a class apart.
std::vector<CK_ATTRIBUTE_TYPE> telling_attributes(ObjectClass object_class) {
  switch (object_class) {
    case ObjectClass::certificate:
    case ObjectClass::data:
      return {CKA_VALUE};
    case ObjectClass::public_key:
      return {CKA_EC_POINT, CKA_MODULUS};
    case ObjectClass::private_key:
      return {CKA_MODULUS};
    default:
      return {};
  }
}

ObjectIdentity identify(const Session& session, ObjectHandle object) {
  ObjectIdentity identity{
      .object_class = class_of(read_number(session, object, CKA_CLASS)),
      .id_hex = to_hex(read_attribute(session, object, CKA_ID).value_or(Bytes{})),
      .label = std::string(as_text(read_attribute(session, object, CKA_LABEL).value_or(Bytes{}))),
      .digest = {}};
  for (CK_ATTRIBUTE_TYPE type : telling_attributes(identity.object_class)) {
    std::optional<Bytes> value = read_attribute(session, object, type);
    if (value) identity.digest = sha256_hex(*value);
    if (value) break;
  }
  return identity;
}

}  // namespace

std::string_view name_of(ObjectClass object_class) {
  switch (object_class) {
    case ObjectClass::data:
      return "data";
    case ObjectClass::certificate:
      return "certificate";
    case ObjectClass::public_key:
      return "public_key";
    case ObjectClass::private_key:
      return "private_key";
    case ObjectClass::secret_key:
      return "secret_key";
    case ObjectClass::unfinished:
      return "unfinished";
    default:
      return "other";
  }
}

std::vector<TokenObject> inventory(const Session& session) {
  std::vector<TokenObject> objects;
  // Not "all with CKA_TOKEN": SoftHSM writes an object attribute by attribute, so one that a kill left
  // unfinished may not have got that yet.
  Template everything;
  for (ObjectHandle handle : session.find(everything)) {
    objects.push_back({handle, identify(session, handle)});
  }
  return objects;
}

std::vector<TokenObject> objects_not_in(const std::vector<TokenObject>& objects,
                                        std::vector<ObjectIdentity> known) {
  std::vector<TokenObject> rest;
  for (const TokenObject& object : objects) {
    auto match = std::find(known.begin(), known.end(), object.identity);
    if (match == known.end()) {
      rest.push_back(object);
    } else {
      known.erase(match);
    }
  }
  return rest;
}

void store_certificate(const Session& session, const Certificate& certificate, const KeyName& name) {
  const X509* x509 = certificate.x509();
  // The names before the value: what a kill leaves with the value can be told by its name.
  Template object;
  object.add_number(CKA_CLASS, CKO_CERTIFICATE)
      .add(CKA_TOKEN, true)
      .add(CKA_PRIVATE, false)
      .add_number(CKA_CERTIFICATE_TYPE, CKC_X_509)
      .add(CKA_ID, name.id.bytes())
      .add(CKA_LABEL, name.label)
      .add(CKA_SUBJECT, to_der(i2d_X509_NAME, static_cast<const X509_NAME*>(X509_get_subject_name(x509))))
      .add(CKA_ISSUER, to_der(i2d_X509_NAME, static_cast<const X509_NAME*>(X509_get_issuer_name(x509))))
      .add(CKA_SERIAL_NUMBER, to_der(i2d_ASN1_INTEGER, X509_get0_serialNumber(x509)))
      .add(CKA_VALUE, certificate.der());
  CK_OBJECT_HANDLE handle = 0;
  check(session.module().functions().C_CreateObject(session.handle(), object.data(), object.size(), &handle),
        "store the certificate");
}

std::vector<Bytes> read_certificates(const Session& session, const KeyId& id) {
  std::vector<Bytes> certificates;
  Template wanted;
  wanted.add_number(CKA_CLASS, CKO_CERTIFICATE).add(CKA_TOKEN, true).add(CKA_ID, id.bytes());
  for (ObjectHandle handle : session.find(wanted)) {
    certificates.push_back(read_attribute(session, handle, CKA_VALUE).value_or(Bytes{}));
  }
  return certificates;
}

}  // namespace fleetroot::pkcs11
