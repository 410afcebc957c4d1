#include "lib/cli/config_check.h"

#include <fmt/format.h>

#include "lib/cli/json_line.h"

namespace fleetroot::cli {
namespace {

struct Options {
  std::string home;
  bool json = false;
};

}  // namespace

void add_config_check(CLI::App& program, Action& action, const ConfigCheck& config) {
  auto options = std::make_shared<Options>();
  std::string example = fmt::format("  {} config check --home {}", config.program, config.home);
  CLI::App* group = add_group(program, "config", "look at the configuration", example + "\n");
  CLI::App* command = add_command(*group, "check", config.summary, example + "\n" + example + " --json\n");
  config.add_home_option(*command, options->home);
  command->add_flag("--json", options->json, "one JSON object");
  command->callback([options, &action, check = config.check] {
    action = [options, check] {
      nlohmann::ordered_json event{{"event", "config"}};
      std::vector<std::string> lines =
          or_json_failure(options->json, event, [&] { return check(options->home); });
      if (options->json) {
        print_json({{"event", "config"}, {"result", "pass"}, {"checks", lines}});
      } else {
        for (const std::string& line : lines) fmt::print("ok  {}\n", line);
      }
      return 0;
    };
  });
}

}  // namespace fleetroot::cli
