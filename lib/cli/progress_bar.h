// How far something has come, for a person who waits for it.
#pragma once

#include <cstddef>

namespace fleetroot::cli {

// Rewrites its line on stderr, where that is a terminal; says nothing otherwise. The line is gone at the end.
class ProgressBar {
 public:
  void show(std::size_t done, std::size_t all);

 private:
  std::size_t percent_ = 101;
};

}  // namespace fleetroot::cli
