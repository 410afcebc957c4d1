#include "pkcs11/module_profile.h"

#include <array>

namespace fleetroot::pkcs11 {
namespace {

constexpr ModuleProfile kStandard{.name = "standard", .manufacturer = ""};
constexpr std::array kProfiles{
    ModuleProfile{.name = "softhsm", .manufacturer = "SoftHSM"},
    ModuleProfile{.name = "nss-softokn", .manufacturer = "Mozilla Foundation", .local_is_reliable = false},
    ModuleProfile{
        .name = "tpm2-pkcs11", .manufacturer = "tpm2-software.github.io", .accepts_decrypt_false = false},
    // The remote's own module is behind it; what it says of its keys passes through unchanged.
    ModuleProfile{.name = "p11-kit-client", .manufacturer = "PKCS#11 Kit"},
};

}  // namespace

const ModuleProfile& profile_of(std::string_view manufacturer, std::string_view description) {
  for (const ModuleProfile& profile : kProfiles) {
    if (manufacturer.starts_with(profile.manufacturer) || description.starts_with(profile.manufacturer))
      return profile;
  }
  return kStandard;
}

}  // namespace fleetroot::pkcs11
