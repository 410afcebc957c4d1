#include "tool/own_objects.h"

#include <algorithm>

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

bool is_nameless(const ObjectIdentity& object) {
  bool is_of_our_kind =
      object.object_class != ObjectClass::data && object.object_class != ObjectClass::secret_key;
  return is_of_our_kind && object.id_hex.empty() && object.label.empty();
}

}  // namespace

bool has_name_of(const pkcs11::KeyPolicy& policy, const ObjectIdentity& object) {
  return std::any_of(policy.specs.begin(), policy.specs.end(), [&](const pkcs11::KeySpec& spec) {
    return has_name(object, spec.key) || (spec.certificate && has_name(object, *spec.certificate));
  });
}

std::vector<pkcs11::TokenObject> left_by_attempt(std::vector<pkcs11::TokenObject> objects,
                                                 const pkcs11::KeyPolicy& policy,
                                                 const std::vector<Certificate>& chain) {
  std::erase_if(objects, [&](const pkcs11::TokenObject& object) {
    const ObjectIdentity& identity = object.identity;
    return !has_name_of(policy, identity) && !is_in_chain(chain, identity) && !is_nameless(identity);
  });
  return objects;
}

}  // namespace fleetroot::station
