// Keeps back what would end the program while something is made that must not be left half done.
#pragma once

#include <csignal>

namespace fleetroot {

// SIGINT, SIGTERM and SIGHUP wait while it lives, unless they are ignored anyway (nohup), and strike as it
// dies: declared before what is to be undone first. A question for a PIN is broken off by them all the same.
// The thread's, and of those that it starts.
class HeldSignals {
 public:
  HeldSignals();
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;
  ~HeldSignals();

  // Error(cannot_create), which nobody sees unless whoever called us keeps them back too.
  void refuse_if_one_came() const;
  // Whether one waits, whoever keeps it back.
  static bool has_one_come();

 private:
  sigset_t before_{};
};

}  // namespace fleetroot
