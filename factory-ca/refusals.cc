#include "factory-ca/refusals.h"

#include <fmt/format.h>

#include <utility>

#include "lib/base/program.h"

namespace fleetroot::ca {

void Refusals::tell(Kind kind, const std::string& address, const std::string& why) {
  std::string line = fmt::format("refused {}: {}", address, why);
  {
    std::lock_guard lock(mutex_);
    Told& told = told_.at(static_cast<std::size_t>(kind));
    auto now = std::chrono::steady_clock::now();
    if (told.last && now - *told.last < std::chrono::seconds(1)) {
      ++told.left_out;
      return;
    }
    told.last = now;
    std::size_t left_out = std::exchange(told.left_out, 0);
    if (left_out > 0) line += fmt::format("; {} like it were left out before", left_out);
  }
  print_remark("fleetroot-ca", line);
}

}  // namespace fleetroot::ca
