#include "pkcs11/hang_watch.h"

namespace fleetroot::pkcs11 {

using std::chrono::steady_clock;

// How often it looks while the time runs, so that no call has to wake it.
constexpr int kLooks = 30;

void HangWatch::start(std::chrono::milliseconds limit, std::function<void()> bark) {
  thread_ = std::jthread(
      [this, limit, bark = std::move(bark)](const std::stop_token& stop) { watch(stop, limit, bark); });
}

void HangWatch::watch(const std::stop_token& stop, std::chrono::milliseconds limit,
                      const std::function<void()>& bark) {
  std::unique_lock lock(mutex_);
  while (!stopped_.wait_for(lock, stop, limit / kLooks, [&] { return stop.stop_requested(); })) {
    if (!begun_.empty() && steady_clock::now() - begun_.front() >= limit) bark();
  }
}

HangWatch::Call::Call(HangWatch& watch) : watch_(watch) {
  std::lock_guard lock(watch_.mutex_);
  begun_ = watch_.begun_.insert(watch_.begun_.end(), steady_clock::now());
}

HangWatch::Call::~Call() {
  std::lock_guard lock(watch_.mutex_);
  watch_.begun_.erase(begun_);
}

}  // namespace fleetroot::pkcs11
