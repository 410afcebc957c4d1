// The station's own key, in a process of its own. A device's PKCS#11 module is foreign code that reads what a
// device says; it shares no address space with the station key, it may hang or crash alone, and both may be
// SoftHSM with different configurations, which one process cannot have.
//
// On the pipes: first the child says a frame with the key's SubjectPublicKeyInfo, or why it cannot start.
// Then for each request (scheme, digest NID, data) one frame with the signature, or why not. The child ends
// when its stdin ends.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "lib/base/process.h"
#include "lib/x509/public_key.h"
#include "pkcs11/provider.h"
#include "tool/home.h"

namespace fleetroot::station {

// The parent's side. One thread.
class KeyProcess {
 public:
  // Starts the child and returns at once; it opens its token meanwhile. Before any module is loaded and any
  // thread started: the child is a fork of this process.
  explicit KeyProcess(const Settings& settings);

  // Waits until the key is open. Throws the child's own Error (wrong PIN, token absent), or
  // Error(configuration) if it is not the key of `certificate`. Once it has failed, it says the same again.
  void wait_until_ready(const Certificate& certificate);
  // An EVP_PKEY that signs through the child, after wait_until_ready(). This object must outlive it.
  EVP_PKEY* evp() const { return evp_.get(); }
  // No more signatures: the child leaves, while other things happen.
  void finish() { child_->close_input(); }

 private:
  void open(const Certificate& certificate);

  std::shared_ptr<ChildProcess> child_;
  EvpPkeyPtr evp_;
  std::optional<Error> failure_;
};

}  // namespace fleetroot::station
