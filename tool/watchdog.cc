#include "tool/watchdog.h"

#include <fmt/format.h>
#include <unistd.h>

#include "lib/base/program.h"

namespace fleetroot::station {

Watchdog::Watchdog(int seconds, std::function<void()> bark)
    : limit_(seconds), bark_(std::move(bark)), thread_([this] { watch(); }) {}

Watchdog::~Watchdog() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Watchdog::arm() {
  {
    std::lock_guard lock(mutex_);
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
      bark_();
    }
  }
}

TokenWatch::TokenWatch(int seconds, std::function<void(const Error&)> tell)
    : watchdog_(seconds, [seconds, tell = std::move(tell)] {
        Error error(ErrorCode::token_unplugged,
                    fmt::format("the token has not answered for {} seconds", seconds),
                    "unplug it and plug it in again, then run the same command again");
        tell(error);
        print_error("fleetroot-station", error);
        _exit(exit_code(error.code()));
      }) {
  watchdog_.arm();
}

}  // namespace fleetroot::station
