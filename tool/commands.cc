#include "tool/commands.h"

#include <fmt/format.h>

#include "lib/base/error.h"
#include "tool/commands_cli.h"

namespace fleetroot::station {
namespace {

// CLI11 says "a subcommand is required" for one that it does not know.
[[noreturn]] void refuse_usage(CLI::App& program, std::string message) {
  CLI::App* command = &program;
  std::string path = program.get_name();
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    path += " " + command->get_name();
  }
  std::vector<std::string> unknown = command->remaining();
  if (command->get_require_subcommand_min() > 0 && !unknown.empty()) {
    message = fmt::format("{} knows no command \"{}\"", path, unknown.front());
  }
  throw Error(ErrorCode::usage, message.substr(0, message.find('\n')), fmt::format("run {} --help", path));
}

}  // namespace

CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& summary,
                      const std::string& examples) {
  CLI::App* command = parent.add_subcommand(name, summary);
  command->formatter_fn(
      [summary, examples](const CLI::App* app, const std::string& path, CLI::AppFormatMode mode) {
        if (mode == CLI::AppFormatMode::Sub) return fmt::format("  {:<12} {}\n", app->get_name(), summary);
        std::string text = CLI::Formatter().make_help(app, path, CLI::AppFormatMode::Normal);
        return "Examples:\n" + examples + "\n" + text;
      });
  return command;
}

void add_home_option(CLI::App& command, std::string& home) {
  command.add_option("--home", home, "the station's home directory")
      ->envname("FLEETROOT_STATION_HOME")
      ->required();
}

int run_command_line(int argc, char** argv) {
  CLI::App program("fleetroot-station: gives devices their identity, in their own hardware.",
                   "fleetroot-station");
  program.set_version_flag("--version", "fleetroot-station " FLEETROOT_VERSION);
  program.require_subcommand(1);
  program.footer("Every command has --help with examples.");
  Action action;
  add_setup_commands(program, action);
  add_device_commands(program, action);
  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& wanted) {
    return program.exit(wanted);  // --help, --version
  } catch (const CLI::ParseError& error) {
    refuse_usage(program, error.what());
  }
  return action();
}

}  // namespace fleetroot::station
