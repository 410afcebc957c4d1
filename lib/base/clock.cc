#include "lib/base/clock.h"

#include <fmt/chrono.h>

#include <ctime>

namespace fleetroot {

Time SystemClock::now() const {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

std::string format_time(Time time) {
  // Not by way of the system clock's nanoseconds, which end in 2262: an IDevID is valid until 9999.
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                     fmt::gmtime(static_cast<std::time_t>(time.time_since_epoch().count())));
}

std::optional<Time> parse_time(std::string_view text) {
  std::string copy(text);
  std::tm parts{};
  const char* end = strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  if (end == nullptr) return std::nullopt;
  Time time{std::chrono::seconds(timegm(&parts))};
  // strptime reads more than one spelling, and a day that there is not.
  return format_time(time) == text ? std::optional(time) : std::nullopt;
}

}  // namespace fleetroot
