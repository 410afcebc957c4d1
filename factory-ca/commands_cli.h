// For the commands_*.cc files: each registers its subcommands, whose bodies set the exit code.
#pragma once

#include <memory>
#include <string>

#include "factory-ca/later_life.h"
#include "lib/cli/command_line.h"
#include "lib/cli/json_line.h"

namespace fleetroot::ca {

using cli::Action;
using cli::add_command;
using cli::add_group;
using cli::print_json;

// What a command with --json does: where it fails as a whole, a machine reads that on stdout
// (docs/formats.md).
template <typename Options>
Action reporting(const std::shared_ptr<Options>& options, int (*report)(const Options&),
                 const nlohmann::ordered_json& event = nlohmann::ordered_json::object()) {
  return [options, report, event] {
    return cli::or_json_failure(options->json, event, [&] { return report(*options); });
  };
}

// --home, or FLEETROOT_CA_HOME.
void add_home_option(CLI::App& command, std::string& home);

// For free text, which goes into the log, and onto terminals. Error(usage) says of "the reason", or whatever
// it is, that it is no UTF-8, or has control characters.
void refuse_unless_plain(std::string_view what, std::string_view text);

// For what cannot be taken back: --dry-run, and how the line begins that says what has happened, or would.
void add_dry_run(CLI::App& command, bool& dry_run);
inline Commitment commitment(bool dry_run) {
  return dry_run ? Commitment::dry_run : Commitment::for_real;
}
inline const char* would(bool dry_run) {
  return dry_run ? "dry run, nothing has changed: " : "";
}

void add_setup_commands(CLI::App& program, Action& action);
void add_station_commands(CLI::App& program, Action& action);
void add_order_commands(CLI::App& program, Action& action);
void add_certificate_commands(CLI::App& program, Action& action);
void add_serve_commands(CLI::App& program, Action& action);
void add_crl_commands(CLI::App& program, Action& action);
void add_ledger_commands(CLI::App& program, Action& action);
void add_later_life_commands(CLI::App& program, Action& action);
// Two of `cert`.
void add_revoke_commands(CLI::App& certificates, Action& action);
void add_media_commands(CLI::App& program, Action& action);

}  // namespace fleetroot::ca
