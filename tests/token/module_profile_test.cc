// Which module gets which profile. What NSS softokn and p11-kit-client get is in their own tests.
#include "pkcs11/module_profile.h"

#include <gtest/gtest.h>

#include "tests/expect_error.h"
#include "tests/token/token_directory.h"

namespace fleetroot::pkcs11 {
namespace {

// As strict as the standard allows: whatever a key may not be, it is refused for.
void expect_cautious(const ModuleProfile& profile) {
  EXPECT_EQ(profile.name, "standard");
  EXPECT_TRUE(profile.local_is_reliable);
  EXPECT_TRUE(profile.accepts_decrypt_false);
  EXPECT_EQ(profile.pin_tries, 3U);
}

class ModuleProfiles : public TokenTest {};

TEST_F(ModuleProfiles, SoftHsmHasItsOwn) {
  EXPECT_EQ(OpenToken(settings_).module.profile().name, "softhsm");
}

TEST_F(ModuleProfiles, AModuleThatNobodyHasMetGetsTheCautiousOne) {
  expect_cautious(Module(OPENSC_MODULE).profile());
}

TEST(ModuleProfile, IsTheOneWhoseNameBeginsManufacturerOrDescription) {
  EXPECT_EQ(profile_of("SoftHSM", "Implementation of PKCS11").name, "softhsm");
  EXPECT_EQ(profile_of("Mozilla Foundation", "NSS Internal Crypto Services").name, "nss-softokn");
  EXPECT_EQ(profile_of("tpm2-software.github.io", "TPM2.0 Cryptoki").name, "tpm2-pkcs11");
  EXPECT_EQ(profile_of("somebody", "PKCS#11 Kit Client").name, "p11-kit-client");
  expect_cautious(profile_of("", ""));
  expect_cautious(profile_of("Soft", "HSM"));
  expect_cautious(profile_of("another SoftHSM", "not by Mozilla Foundation"));
}

TEST(ModuleProfile, ForgivesOnlyWhatItIsKnownFor) {
  EXPECT_FALSE(profile_of("Mozilla Foundation", "").local_is_reliable);
  EXPECT_TRUE(profile_of("Mozilla Foundation", "").accepts_decrypt_false);
  EXPECT_FALSE(profile_of("tpm2-software.github.io", "").accepts_decrypt_false);
  for (const char* manufacturer : {"SoftHSM", "PKCS#11 Kit", "tpm2-software.github.io", "nobody"})
    EXPECT_TRUE(profile_of(manufacturer, "").local_is_reliable) << manufacturer;
}

TEST(ModuleProfile, OfARemoteModuleIsOneThatDiffers) {
  EXPECT_EQ(remote_profile("tpm2-pkcs11").name, "tpm2-pkcs11");
  for (const char* name : {"", "p11-kit-client", "standard", "tpm2"})
    EXPECT_EQ(code_of([&] { remote_profile(name); }), ErrorCode::usage) << name;
}

TEST_F(ModuleProfiles, AModuleThatLeadsNowhereIsSaidToBeNoOther) {
  auto load = [this] { Module module(module_path(), {.remote = "tpm2-pkcs11"}); };
  EXPECT_EQ(code_of(load), ErrorCode::module_unusable);
}

}  // namespace
}  // namespace fleetroot::pkcs11
