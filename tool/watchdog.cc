#include "tool/watchdog.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "lib/base/program.h"

namespace fleetroot::station {

Watchdog::Watchdog(int seconds, std::function<void(const Error&)> tell)
    : limit_(seconds), tell_(std::move(tell)), thread_([this] { watch(); }) {}

Watchdog::~Watchdog() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Watchdog::arm(Error verdict) {
  {
    std::lock_guard lock(mutex_);
    verdict_ = std::move(verdict);
    deadline_ = std::chrono::steady_clock::now() + limit_;
  }
  changed_.notify_one();
}

void Watchdog::disarm() {
  std::lock_guard lock(mutex_);
  deadline_.reset();
}

void Watchdog::watch() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (!deadline_) {
      changed_.wait(lock);
    } else if (changed_.wait_until(lock, *deadline_) == std::cv_status::timeout && deadline_ &&
               std::chrono::steady_clock::now() >= *deadline_) {
      bark();
    }
  }
}

void Watchdog::bark() const {
  tell_(*verdict_);
  std::fflush(stdout);
  print_error("fleetroot-station", *verdict_);
  _exit(exit_code(verdict_->code()));
}

TokenWatch::TokenWatch(int seconds, std::function<void(const Error&)> tell)
    : watchdog_(seconds, std::move(tell)) {
  watchdog_.arm({ErrorCode::token_unplugged,
                 fmt::format("the token has not answered for {} seconds", seconds),
                 "unplug it and plug it in again, then run the same command again"});
}

}  // namespace fleetroot::station
