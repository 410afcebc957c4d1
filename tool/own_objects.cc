#include "tool/own_objects.h"

#include <algorithm>
#include <array>

#include "tool/device_token.h"

namespace fleetroot::station {
namespace {

using pkcs11::ObjectClass;
using pkcs11::ObjectIdentity;

bool has_name(const ObjectIdentity& object, const pkcs11::KeyName& name) {
  return object.id_hex == name.id.hex() || object.label == name.label;
}

bool is_in_chain(const std::vector<Certificate>& chain, const ObjectIdentity& object) {
  return std::any_of(chain.begin(), chain.end(), [&](const Certificate& certificate) {
    return object.id_hex == chain_name(certificate).id.hex();
  });
}

bool is_of_our_kind(ObjectClass object_class) {
  static constexpr std::array kKinds{ObjectClass::certificate, ObjectClass::public_key,
                                     ObjectClass::private_key, ObjectClass::unfinished};
  return std::find(kKinds.begin(), kKinds.end(), object_class) != kKinds.end();
}

// A certificate of ours has its names before its value (store_certificate): one with a value and no name is
// whole, and somebody else's.
bool is_nameless_wreckage(const ObjectIdentity& object) {
  static const std::string kNoValue = sha256_hex(Bytes{});
  if (!object.id_hex.empty() || !object.label.empty()) return false;
  return object.object_class != ObjectClass::certificate || object.digest.empty() ||
         object.digest == kNoValue;
}

}  // namespace

bool has_name_of(const pkcs11::KeyPolicy& policy, const ObjectIdentity& object) {
  return std::any_of(policy.specs.begin(), policy.specs.end(), [&](const pkcs11::KeySpec& spec) {
    return has_name(object, spec.key) || (spec.certificate && has_name(object, *spec.certificate));
  });
}

std::vector<pkcs11::TokenObject> left_by_attempt(const std::vector<pkcs11::TokenObject>& objects,
                                                 const std::vector<ObjectIdentity>& before,
                                                 const pkcs11::KeyPolicy& policy,
                                                 const std::vector<Certificate>& chain) {
  auto is_left = [&](const ObjectIdentity& object) {
    if (has_name_of(policy, object) || is_in_chain(chain, object)) return true;
    bool looks_as_before = std::find(before.begin(), before.end(), object) != before.end();
    return is_nameless_wreckage(object) && is_of_our_kind(object.object_class) && !looks_as_before;
  };
  std::vector<pkcs11::TokenObject> left = pkcs11::objects_not_in(objects, before);
  std::erase_if(left, [&](const pkcs11::TokenObject& object) { return !is_left(object.identity); });
  return left;
}

}  // namespace fleetroot::station
