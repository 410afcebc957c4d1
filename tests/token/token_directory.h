// A SoftHSM directory of a test's own, with one initialised token in it; and the way in.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "lib/base/files.h"
#include "pkcs11/key_pair.h"
#include "pkcs11/module.h"
#include "pkcs11/pin.h"
#include "pkcs11/session.h"
#include "pkcs11/signing_key.h"
#include "pkcs11/softhsm.h"
#include "pkcs11/uri.h"
#include "tests/scratch_directory.h"

namespace fleetroot {

class TokenTest : public testing::Test {
 protected:
  ScratchDirectory scratch_;
  std::filesystem::path directory_ = scratch_.path();
  pkcs11::TokenSettings settings_ =
      pkcs11::create_softhsm_token(directory_, directory_ / "softhsm", "dev-1", directory_ / "dev-1.pin");

  std::string module_path() const { return *pkcs11::Uri::parse(settings_.uri).module_path; }
  // The same token behind the witness (tests/witness/witness.cc).
  pkcs11::TokenSettings witnessed() const {
    pkcs11::select_softhsm_directory(directory_ / "softhsm");
    setenv("WITNESS_MODULE", module_path().c_str(), 1);
    setenv("WITNESS_LOG", (directory_ / "calls").c_str(), 1);
    pkcs11::TokenSettings settings = settings_;
    settings.uri.replace(settings.uri.find(module_path()), module_path().size(),
                         std::getenv("FLEETROOT_WITNESS"));
    return settings;
  }
  std::string pin() const { return read_file(directory_ / "dev-1.pin"); }
};

namespace pkcs11 {

inline Pin pin_from(const TokenSettings& settings, const Uri& uri) {
  return read_pin({.fd = {}, .uri_source = uri.pin_source, .base = settings.home, .prompt = {}});
}

// A token, open and logged in.
struct OpenToken {
  explicit OpenToken(const TokenSettings& settings)
      : uri(Uri::parse(settings.uri)),
        module(*uri.module_path, {.init_args = settings.init_args}),
        session(module, module.find_token(uri)) {
    session.log_in(pin_from(settings, uri));
  }

  Uri uri;
  Module module;
  Session session;
};

}  // namespace pkcs11
}  // namespace fleetroot
