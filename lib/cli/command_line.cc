#include "lib/cli/command_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "lib/base/error.h"
#include "lib/cli/json_line.h"

namespace fleetroot::cli {
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

// Before anything is known of the command: a machine that reads along must not take silence for a pass.
bool wants_json(int argc, char** argv) {
  return std::any_of(argv, argv + argc, [](std::string_view argument) { return argument == "--json"; });
}

constexpr const char* kEmptyValue = "the value is empty: give one, or leave the option out";

// CLI11 takes the argument behind "--name=" for its value, whatever that is.
void refuse_values_left_out(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::string_view argument = argv[i];
    if (argument == "--") return;
    if (argument.starts_with("--") && argument.find('=') == argument.size() - 1)
      throw CLI::ValidationError(std::string(argument.substr(0, argument.size() - 1)), kEmptyValue);
  }
}

// After what else is checked of a value, which has words of its own.
void refuse_empty_values(CLI::App& command) {
  static const CLI::Validator kNotEmpty(
      [](const std::string& value) { return std::string(value.empty() ? kEmptyValue : ""); }, "");
  auto takes_one = [](const CLI::Option* option) {
    return option->get_items_expected_max() > 0 && option->get_type_name() != kScan;
  };
  for (CLI::Option* option : command.get_options(takes_one)) option->check(kNotEmpty);
  for (CLI::App* inner : command.get_subcommands({})) refuse_empty_values(*inner);
}

void show_examples(CLI::App& command, const std::string& summary, const std::string& examples) {
  command.formatter_fn(
      [summary, examples](const CLI::App* app, const std::string& path, CLI::AppFormatMode mode) {
        if (mode == CLI::AppFormatMode::Sub) return fmt::format("  {:<12} {}\n", app->get_name(), summary);
        std::string text = CLI::Formatter().make_help(app, path, CLI::AppFormatMode::Normal);
        return "Examples:\n" + examples + "\n" + text;
      });
}

}  // namespace

CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& summary,
                      const std::string& examples) {
  CLI::App* command = parent.add_subcommand(name, summary);
  show_examples(*command, summary, examples);
  return command;
}

CLI::App* add_group(CLI::App& parent, const std::string& name, const std::string& summary,
                    const std::string& examples) {
  CLI::App* group = add_command(parent, name, summary, examples);
  group->require_subcommand(1);
  return group;
}

CLI::Validator whole_number(std::uint64_t least, std::uint64_t most) {
  auto read = [least, most](std::string& text) -> std::string {
    std::uint64_t number = 0;
    const char* end = text.data() + text.size();
    auto [rest, error] = std::from_chars(text.data(), end, number);
    if (rest != end || error != std::errc() || number < least || number > most)
      return fmt::format("the value is no whole number from {} to {}, in decimal digits", least, most);
    text = std::to_string(number);
    return "";
  };
  return {read, fmt::format("{} to {}", least, most)};
}

int run(const std::string& name, const std::string& description, const std::string& examples, int argc,
        char** argv, const std::function<void(CLI::App& program, Action& action)>& add_commands) {
  CLI::App program(description, name);
  show_examples(program, description, examples);
  program.set_version_flag("--version", name + " " FLEETROOT_VERSION);
  program.require_subcommand(1);
  program.footer("Every command has --help with examples.");
  Action action;
  add_commands(program, action);
  refuse_empty_values(program);
  try {
    refuse_values_left_out(argc, argv);
    program.parse(argc, argv);
  } catch (const CLI::Success& wanted) {
    return program.exit(wanted);  // --help, --version
  } catch (const CLI::ParseError& error) {
    or_json_failure(wants_json(argc, argv), {{"event", "command"}},
                    [&] { refuse_usage(program, error.what()); });
  }
  return action();
}

}  // namespace fleetroot::cli
