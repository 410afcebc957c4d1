// A SoftHSM directory of a test's own, with one initialised token in it.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "lib/base/files.h"
#include "pkcs11/signing_key.h"

namespace fleetroot {

class TokenTest : public testing::Test {
 protected:
  TokenTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "fleetroot-token-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    settings_ =
        pkcs11::create_softhsm_token(directory_, directory_ / "softhsm", "dev-1", directory_ / "dev-1.pin");
  }
  ~TokenTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  std::filesystem::path directory_;
  pkcs11::TokenSettings settings_;
};

}  // namespace fleetroot
