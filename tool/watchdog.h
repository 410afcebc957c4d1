// A PKCS#11 module may hang for ever, and nothing inside the process can stop it. The watchdog lets the
// process end instead: the journal is durable, so the same command resumes.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "lib/base/error.h"

namespace fleetroot::station {

// Owns one thread. arm() and disarm() from the thread that does the work.
class Watchdog {
 public:
  // When an armed deadline passes, the watchdog's thread ends the process with what arm() was given, which
  // `tell` hears first.
  Watchdog(int seconds, std::function<void(const Error&)> tell);
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog();

  void arm(Error verdict);
  void disarm();

 private:
  void watch();
  void bark() const;

  std::chrono::seconds limit_;
  std::function<void(const Error&)> tell_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<std::chrono::steady_clock::time_point> deadline_;
  std::optional<Error> verdict_;
  bool stop_ = false;
  std::thread thread_;
};

// Arms a watchdog for as long as it lives.
class Watched {
 public:
  Watched(Watchdog& watchdog, Error verdict) : watchdog_(watchdog) { watchdog_.arm(std::move(verdict)); }
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;
  ~Watched() { watchdog_.disarm(); }

 private:
  Watchdog& watchdog_;
};

// For a command that is one step: all that it does on a token while this lives is done within so many
// seconds, or the process ends with an Error(token_unplugged), which `tell` hears first.
class TokenWatch {
 public:
  TokenWatch(int seconds, std::function<void(const Error&)> tell);

 private:
  Watchdog watchdog_;
};

}  // namespace fleetroot::station
