// Which objects on a device's token are the station's to finish or to sweep: by their names alone, whatever
// else came onto the token meanwhile.
#pragma once

#include <vector>

#include "lib/x509/certificate.h"
#include "pkcs11/key_policy.h"
#include "pkcs11/objects.h"

namespace fleetroot::station {

// Whether it has an ID or a label that the policy gives to one of its keys or to the certificate.
bool has_name_of(const pkcs11::KeyPolicy& policy, const pkcs11::ObjectIdentity& object);

// What an attempt has left among `objects`, on a token on which `before` lay: what has a name of the policy
// or of the chain, and keys, certificates and unfinished objects that a kill left before they had any name.
// A nameless one that looks as one did before is not taken: nobody can tell which of them is which; nor is a
// nameless certificate that is whole.
std::vector<pkcs11::TokenObject> left_by_attempt(const std::vector<pkcs11::TokenObject>& objects,
                                                 const std::vector<pkcs11::ObjectIdentity>& before,
                                                 const pkcs11::KeyPolicy& policy,
                                                 const std::vector<Certificate>& chain);

}  // namespace fleetroot::station
