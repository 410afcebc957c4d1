// Who does not get in, for whoever runs the CA.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>

namespace fleetroot::ca {

class Refusals {
 public:
  enum class Kind { no_certificate, no_stations_certificate, no_enrolled_station, old_tls, handshake };

  // A line on stderr, of each kind one a second at most, so that strangers do not fill the disk with them; it
  // says how many like it were left out since the one before. Any thread.
  void tell(Kind kind, const std::string& address, const std::string& why);

 private:
  struct Told {
    std::optional<std::chrono::steady_clock::time_point> last;
    std::size_t left_out = 0;
  };
  std::mutex mutex_;
  std::array<Told, 5> told_;
};

}  // namespace fleetroot::ca
