// A session with one token, logged in or not; and raw object access for the files of this folder.
#pragma once

#include <vector>

#include "pkcs11/module.h"
#include "pkcs11/pin.h"

namespace fleetroot::pkcs11 {

using ObjectHandle = unsigned long;
class Template;

// Refers to its Module, which must outlive it. The destructor closes the session and does not throw: by then
// the token may be gone. Closing a token's last session logs out (PKCS#11 2.40 section 5.6.1). One thread.
class Session {
 public:
  // Read-write, unless the token is write-protected. Error(token_absent, token_busy, token_unplugged). Checks
  // that the slot still holds this token.
  Session(const Module& module, TokenInfo token);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  // Reads the PIN flags first: a token on its last try is refused with Error(pin_locked) before the PIN is
  // sent. One wrong PIN costs one try: Error(pin_wrong).
  void log_in(const Pin& pin);

  const Module& module() const { return module_; }
  const TokenInfo& token() const { return token_; }
  unsigned long handle() const { return handle_; }

  // The handles of the objects that match, in the token's order. Error(token_untrusted) for more than a token
  // can have.
  std::vector<ObjectHandle> find(Template& wanted) const;
  void destroy(ObjectHandle object) const;

 private:
  const Module& module_;
  TokenInfo token_;
  unsigned long handle_ = 0;
};

}  // namespace fleetroot::pkcs11
