// A PKCS#11 module: loaded and initialised through libp11, driven directly. And the tokens that it shows.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "pkcs11/module_profile.h"
#include "pkcs11/uri.h"

struct _CK_FUNCTION_LIST;

namespace fleetroot::pkcs11 {

// A token as C_GetTokenInfo shows it (PKCS#11 2.40 section 3.2). Its identity is manufacturer, model,
// serial number and label; the slot ID is only where it is plugged in right now.
struct TokenInfo {
  unsigned long slot_id = 0;
  std::string label;
  std::string manufacturer;
  std::string model;
  std::string serial;
  std::string firmware;
  bool is_initialised = false;
  bool has_user_pin = false;
  bool is_write_protected = false;
  bool user_pin_final_try = false;
  bool user_pin_locked = false;

  bool matches(const Uri& uri) const;
  // "dev-1 (serial 5ad3…)"
  std::string describe() const;
};

struct ModuleOptions {
  // The module's own initialisation string, usually empty.
  std::string init_args{};
  // Which module p11-kit-client leads to (remote_profile()); empty where that one does not differ.
  std::string remote{};
};

// One owner a process and module: Cryptoki is initialised by the constructor, finalised and unloaded by the
// destructor, which must run before main() returns (SoftHSM and OpenSSL fight over their exit handlers
// otherwise). Not copyable, not movable; sessions refer to it and die before it. One thread.
class Module {
 public:
  // Error(module_unusable) if there is no such file, it is no PKCS#11 module, it does not initialise, or is
  // said to lead elsewhere and does not. Error(usage) as remote_profile().
  explicit Module(const std::string& path, const ModuleOptions& options = {});
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
  ~Module();

  const _CK_FUNCTION_LIST& functions() const;
  const ModuleProfile& profile() const;

  // Asks the module anew.
  std::vector<TokenInfo> tokens() const;
  TokenInfo token_in(unsigned long slot_id) const;

  // The one initialised token that the URI matches. Error(token_absent, token_ambiguous,
  // token_uninitialised).
  TokenInfo find_token(const Uri& uri) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fleetroot::pkcs11
