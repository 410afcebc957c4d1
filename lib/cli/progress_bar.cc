#include "lib/cli/progress_bar.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <string>

namespace fleetroot::cli {

void ProgressBar::show(std::size_t done, std::size_t all) {
  constexpr std::size_t kWidth = 40;
  std::size_t percent = 100 * done / all;
  if (percent == percent_ || isatty(STDERR_FILENO) == 0) return;
  percent_ = percent;
  fmt::print(stderr, "\r[{:<{}}] {} of {}", std::string(kWidth * done / all, '='), kWidth, done, all);
  if (done == all) fmt::print(stderr, "\r\033[K");
  std::fflush(stderr);
}

}  // namespace fleetroot::cli
