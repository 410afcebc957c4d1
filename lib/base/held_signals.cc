#include "lib/base/held_signals.h"

#include <algorithm>
#include <array>

#include "lib/base/error.h"

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
  sigset_t pending;
  sigpending(&pending);
  if (std::none_of(kHeld.begin(), kHeld.end(),
                   [&](int signal) { return sigismember(&pending, signal) == 1; }))
    return;
  throw Error(ErrorCode::cannot_create, "a signal came that ends this", "run the same command again");
}

}  // namespace fleetroot
