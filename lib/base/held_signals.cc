#include "lib/base/held_signals.h"

#include <algorithm>
#include <array>

#include "lib/base/error.h"
#include "lib/base/process.h"

namespace fleetroot {
namespace {

constexpr std::array kHeld{SIGINT, SIGTERM, SIGHUP};

}  // namespace

HeldSignals::HeldSignals() {
  sigset_t held;
  sigemptyset(&held);
  for (int signal : kHeld) sigaddset(&held, signal);
  pthread_sigmask(SIG_BLOCK, &held, &before_);
}

HeldSignals::~HeldSignals() {
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void HeldSignals::refuse_if_one_came() const {
  if (has_one_come())
    throw Error(ErrorCode::cannot_create, "a signal came that ends this", "run the same command again");
}

bool HeldSignals::has_one_come() {
  sigset_t pending;
  sigpending(&pending);
  return std::any_of(kHeld.begin(), kHeld.end(),
                     [&](int signal) { return sigismember(&pending, signal) == 1 && !is_ignored(signal); });
}

}  // namespace fleetroot
