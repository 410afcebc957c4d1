// `config check`, which every program has.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "lib/cli/command_line.h"

namespace fleetroot::cli {

struct ConfigCheck {
  std::string program;  // "fleetroot-ca"
  std::string home;     // what the examples call it
  std::string summary;
  std::function<void(CLI::App& command, std::string& home)> add_home_option;
  // One line a thing that was checked. Error for the first that is wrong.
  std::function<std::vector<std::string>(const std::string& home)> check;
};

void add_config_check(CLI::App& program, Action& action, const ConfigCheck& config);

}  // namespace fleetroot::cli
