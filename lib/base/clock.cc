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

}  // namespace fleetroot
