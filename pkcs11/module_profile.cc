#include "pkcs11/module_profile.h"

#include <fmt/format.h>

#include <array>

#include "lib/base/error.h"

namespace fleetroot::pkcs11 {
namespace {

constexpr std::string_view kP11KitClient = "p11-kit-client";
constexpr ModuleProfile kStandard{.name = "standard", .manufacturer = ""};
constexpr std::array kProfiles{
    ModuleProfile{.name = "softhsm", .manufacturer = "SoftHSM"},
    ModuleProfile{.name = "nss-softokn", .manufacturer = "Mozilla Foundation", .local_is_reliable = false},
    ModuleProfile{
        .name = "tpm2-pkcs11", .manufacturer = "tpm2-software.github.io", .accepts_decrypt_false = false},
    // What the remote module says of its keys passes through unchanged.
    ModuleProfile{.name = kP11KitClient, .manufacturer = "PKCS#11 Kit"},
};

}  // namespace

const ModuleProfile& profile_of(std::string_view manufacturer, std::string_view description) {
  for (const ModuleProfile& profile : kProfiles) {
    if (manufacturer.starts_with(profile.manufacturer) || description.starts_with(profile.manufacturer))
      return profile;
  }
  return kStandard;
}

bool leads_elsewhere(const ModuleProfile& profile) {
  return profile.name == kP11KitClient;
}

const ModuleProfile& remote_profile(std::string_view name) {
  for (const ModuleProfile& profile : kProfiles) {
    if (profile.name == name && !leads_elsewhere(profile)) return profile;
  }
  throw Error(ErrorCode::usage, fmt::format("no module that differs is called \"{}\"", name),
              "name nss-softokn or tpm2-pkcs11, or leave it out: other modules need not be named");
}

}  // namespace fleetroot::pkcs11
