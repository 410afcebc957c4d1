// What a PKCS#11 module does differently from the standard, in one table (docs/key-policies.md).
#pragma once

#include <string_view>

namespace fleetroot::pkcs11 {

struct ModuleProfile {
  std::string_view name;
  // Compared with the beginning of CK_INFO's manufacturer and library description.
  std::string_view manufacturer;
  // CKA_LOCAL is reported truthfully, so a key without it was not made in the token.
  bool local_is_reliable = true;
  // Templates may say CKA_DECRYPT=false, and CKA_ENCRYPT=false of the public half, so a key that decrypts was
  // not made by them.
  bool accepts_decrypt_false = true;
  // How many wrong PINs lock the token, where it does not show so in its flags. One of them is never spent.
  unsigned pin_tries = 3;
};

// The profile for a module that says this of itself; the standard's own for one that nobody has met.
const ModuleProfile& profile_of(std::string_view manufacturer, std::string_view description);

// Whether it is p11-kit's: then the keys are another module's, and p11-kit does not say whose.
bool leads_elsewhere(const ModuleProfile& profile);
// Of a module that p11-kit-client leads to. Error(usage) if there is none of this name.
const ModuleProfile& remote_profile(std::string_view name);

}  // namespace fleetroot::pkcs11
