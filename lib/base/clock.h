// The one door to wall-clock time, so that tests and the "clock went backwards" rule have one place to stand.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace fleetroot {

using Time = std::chrono::sys_seconds;

// By so much the clocks of two machines may differ without harm.
inline constexpr std::chrono::seconds kSmallSkew{60};

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time now() const = 0;
};

class SystemClock : public Clock {
 public:
  Time now() const override;
};

// "2026-11-24T05:06:07Z" (RFC 3339, UTC)
std::string format_time(Time time);
// The same, read: exactly this shape, and a time that there is; nothing otherwise.
std::optional<Time> parse_time(std::string_view text);

// Milliseconds of a monotonic clock, for measuring.
class Stopwatch {
 public:
  Stopwatch() : start_(std::chrono::steady_clock::now()) {}
  double milliseconds() const {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_;
};

}  // namespace fleetroot
