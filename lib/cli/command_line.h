// What the command lines of all programs have in common, over CLI11: help that opens with examples, commands
// that only say what is to be done, and usage errors as everybody else's errors.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>

namespace fleetroot::cli {

// What the chosen command will do, once the whole command line has been read. Its result is the exit code.
using Action = std::function<int()>;

// A command whose help opens with examples.
CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& summary,
                      const std::string& examples);
// One that only has commands of its own.
CLI::App* add_group(CLI::App& parent, const std::string& name, const std::string& summary,
                    const std::string& examples);

// The type name of an option whose value is a scan. What a scanner read is judged by the command, as every
// other scan; all other options refuse an empty value.
constexpr const char* kScan = "SCAN";

// For option->transform(): a whole number in decimal digits and nothing else. Zeros in front of it are what
// others pad with; CLI11 by itself takes them for octal.
CLI::Validator whole_number(std::uint64_t least, std::uint64_t most);

// Reads the command line, then does what it asks for. `add_commands` registers the commands, whose callbacks
// set the action. --help and --version are there already. Error(usage) for what cannot be understood, and for
// an option that is given with an empty value: a script's variable that is not set turns no check off.
int run(const std::string& name, const std::string& description, const std::string& examples, int argc,
        char** argv, const std::function<void(CLI::App& program, Action& action)>& add_commands);

}  // namespace fleetroot::cli
