// Programs of other people, run to judge what ours made.
#pragma once

#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include "lib/base/process.h"

namespace fleetroot {

struct Judgement {
  int exit_code = 0;
  std::string output;  // stdout; stderr goes to the test's log

  bool accepted() const { return exit_code == 0; }
  bool says(const std::string& words) const { return output.find(words) != std::string::npos; }
};

inline Judgement judge(const std::vector<std::string>& command) {
  ChildProcess child(command);
  Judgement judgement;
  std::array<char, 4096> buffer{};
  ssize_t got = 0;
  while ((got = read(child.stdout_fd(), buffer.data(), buffer.size())) > 0) {
    judgement.output.append(buffer.data(), static_cast<std::size_t>(got));
  }
  judgement.exit_code = child.wait();
  return judgement;
}

}  // namespace fleetroot
