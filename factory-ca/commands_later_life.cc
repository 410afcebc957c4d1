// rework authorize, rework withdraw, rework list, scrap, cert revoke, cert disown
#include <fmt/format.h>

#include <algorithm>

#include "factory-ca/commands_cli.h"
#include "factory-ca/home.h"
#include "factory-ca/later_life.h"
#include "lib/base/printable.h"

namespace fleetroot::ca {
namespace {

struct LifeOptions {
  std::string home, device_id, reason, cause, serial, today;
  bool dry_run = false, json = false;
};

int authorise(const LifeOptions& options) {
  DeviceId device = DeviceId::parse(options.device_id);
  constexpr std::size_t kMaximumReason = 256;
  if (options.reason.size() > kMaximumReason) {
    throw Error(ErrorCode::usage, "the reason is too long",
                fmt::format("say it in {} bytes", kMaximumReason));
  }
  refuse_unless_plain("the reason", options.reason);
  Ledger ledger(Home(options.home).ledger());
  Rework rework =
      authorise_rework(ledger, device, options.reason, SystemClock(), commitment(options.dry_run));
  fmt::print("{}device {} may get one certificate for a new key, on its own order{}\n",
             would(options.dry_run), device.text(),
             rework.authorised_at.empty() ? "" : ", since " + rework.authorised_at);
  return 0;
}

int withdraw(const LifeOptions& options) {
  DeviceId device = DeviceId::parse(options.device_id);
  Ledger ledger(Home(options.home).ledger());
  withdraw_rework(ledger, device, SystemClock());
  fmt::print("the rework of device {} is withdrawn; what it has stays as it is\n", device.text());
  return 0;
}

int list_reworks(const LifeOptions& options) {
  Ledger ledger(Home(options.home).ledger());
  if (!options.json) {
    fmt::print("{:<24} {:<10} {:<21} {:<21} {:<36} {}\n", "DEVICE", "STATE", "AUTHORISED", "ENDED", "SERIAL",
               "REASON");
  }
  ledger.reworks.each([&](const Rework& rework) {
    if (options.json) {
      print_json({{"device_id", rework.device_id},
                  {"state", name_of(rework.state)},
                  {"reason", rework.reason},
                  {"authorised_at", rework.authorised_at},
                  {"ended_at", rework.ended_at},
                  {"serial", rework.serial}});
    } else {
      fmt::print("{:<24} {:<10} {:<21} {:<21} {:<36} {}\n", rework.device_id, name_of(rework.state),
                 rework.authorised_at, rework.ended_at, rework.serial, printable(rework.reason));
    }
  });
  return 0;
}

std::string fate_of_certificate(const Scrapped& scrapped, const ScrapCause& cause) {
  if (scrapped.revoked) {
    return fmt::format("its certificate {} is revoked ({})", scrapped.revoked->serial,
                       name_of(cause.reason()));
  }
  if (const std::optional<CertificateRecord>& before = scrapped.revoked_before) {
    return fmt::format("its certificate {} was revoked at {} ({}), and that stays", before->serial,
                       before->revoked_at, name_of(before->revocation_reason));
  }
  return "it had no certificate, and gets none";
}

int scrap_device(const LifeOptions& options) {
  DeviceId device = DeviceId::parse(options.device_id);
  ScrapCause cause = ScrapCause::parse(options.cause);
  Ledger ledger(Home(options.home).ledger());
  Scrapped scrapped = scrap(ledger, device, cause, SystemClock(), commitment(options.dry_run));
  if (!scrapped.is_new) {
    fmt::print("device {} was scrapped at {} ({})\n", device.text(), scrapped.device.scrapped_at,
               scrapped.device.cause);
    return 0;
  }
  fmt::print("{}device {} is scrapped ({}); {}\n", would(options.dry_run), device.text(), cause.code(),
             fate_of_certificate(scrapped, cause));
  return 0;
}

int run_revoke(const LifeOptions& options) {
  if (options.device_id.empty() == options.serial.empty()) {
    throw Error(ErrorCode::usage, "it takes a device or a serial number to revoke a certificate",
                "give --device-id ID or --serial HEX");
  }
  RevocationReason reason = parse_revocation_reason(options.reason);
  std::optional<DeviceId> device;
  std::optional<SerialNumber> serial;
  if (options.serial.empty()) {
    device = DeviceId::parse(options.device_id);
  } else {
    serial = SerialNumber::from_hex(options.serial);
  }
  Home home(options.home);
  Ledger ledger(home.ledger());
  Revoked revoked =
      device ? revoke_certificate(ledger, *device, reason, SystemClock(), commitment(options.dry_run))
             : revoke_certificate(ledger, *serial, reason, SystemClock(), commitment(options.dry_run),
                                  home.issuing_certificate_if_present());
  const CertificateRecord& certificate = revoked.certificate;
  if (revoked.is_new) {
    fmt::print("{}the certificate {} of {} {} is revoked ({})\n", would(options.dry_run), certificate.serial,
               name_of(certificate.kind), certificate.subject, name_of(reason));
  } else {
    fmt::print("the certificate {} of {} {} was revoked at {} ({})\n", certificate.serial,
               name_of(certificate.kind), certificate.subject, certificate.revoked_at,
               name_of(certificate.revocation_reason));
  }
  return 0;
}

// A clock that is behind makes everything look as if it were from later: somebody says what day it is.
void refuse_unless_today(const std::string& today, Time now) {
  constexpr std::size_t kDateSize = 10;
  if (format_time(now).substr(0, kDateSize) == today) return;
  throw Error(ErrorCode::clock,
              fmt::format("this machine's clock says {}, and --today {}", format_time(now), printable(today)),
              "set the clock right, and give the day as YYYY-MM-DD, in UTC");
}

int run_disown(const LifeOptions& options) {
  SystemClock clock;
  refuse_unless_today(options.today, clock.now());
  Home home(options.home);
  Certificate own = home.settings().issuing ? home.issuing_certificate() : home.fleet_root();
  Ledger ledger(home.ledger());
  Disowned disowned = disown_later(ledger, own, clock, commitment(options.dry_run));
  auto of = [&](SubjectKind kind) {
    return std::count_if(disowned.revoked.begin(), disowned.revoked.end(),
                         [&](const CertificateRecord& record) { return record.kind == kind; });
  };
  fmt::print("{}from later than now: {} revoked (devices {}, stations {}), reservations given up: {}\n",
             would(options.dry_run), disowned.revoked.size(), of(SubjectKind::device),
             of(SubjectKind::station), disowned.given_up);
  return 0;
}

std::shared_ptr<LifeOptions> add_home(CLI::App* command) {
  auto options = std::make_shared<LifeOptions>();
  add_home_option(*command, options->home);
  return options;
}

void add_device_option(CLI::App* command, LifeOptions& options) {
  command->add_option("--device-id", options.device_id, "the device")->required();
}

void add_rework(CLI::App& program, Action& action) {
  CLI::App* rework = add_group(
      program, "rework", "a new key for a device whose token was replaced",
      "  fleetroot-ca rework authorize --home ca --device-id 1FLEET0000000001 --reason \"token broken\"\n"
      "  fleetroot-ca rework list --home ca\n");

  CLI::App* command = add_command(
      *rework, "authorize", "let a device have one certificate for a new key",
      "  fleetroot-ca rework authorize --home ca --device-id 1FLEET0000000001\n"
      "  fleetroot-ca rework authorize --home ca --device-id 1FLEET0000000001 --reason \"token broken\" "
      "--dry-run\n");
  auto options = add_home(command);
  add_device_option(command, *options);
  command->add_option("--reason", options->reason, "free text, for the log");
  add_dry_run(*command, options->dry_run);
  command->callback([options, &action] { action = [options] { return authorise(*options); }; });

  command = add_command(*rework, "withdraw", "take an authorisation back that was not used yet",
                        "  fleetroot-ca rework withdraw --home ca --device-id 1FLEET0000000001\n");
  options = add_home(command);
  add_device_option(command, *options);
  command->callback([options, &action] { action = [options] { return withdraw(*options); }; });

  command = add_command(*rework, "list", "show what was authorised, and what became of it",
                        "  fleetroot-ca rework list --home ca\n"
                        "  fleetroot-ca rework list --home ca --json\n");
  options = add_home(command);
  command->add_flag("--json", options->json, "one JSON object a rework");
  command->callback([options, &action] { action = reporting(options, list_reworks); });
}

void add_scrap(CLI::App& program, Action& action) {
  CLI::App* command =
      add_command(program, "scrap", "refuse a device for ever, and revoke what it has",
                  "  fleetroot-ca scrap --home ca --device-id 1FLEET0000000001 --cause damaged --dry-run\n"
                  "  fleetroot-ca scrap --home ca --device-id 1FLEET0000000001 --cause damaged\n");
  auto options = add_home(command);
  add_device_option(command, *options);
  command->add_option("--cause", options->cause, "failed-test, damaged, end-of-life, lost, stolen or cloned")
      ->required();
  add_dry_run(*command, options->dry_run);
  command->callback([options, &action] { action = [options] { return scrap_device(*options); }; });
}

}  // namespace

void add_later_life_commands(CLI::App& program, Action& action) {
  add_rework(program, action);
  add_scrap(program, action);
}

void add_revoke_commands(CLI::App& certificates, Action& action) {
  CLI::App* command =
      add_command(certificates, "revoke", "revoke a certificate, for ever",
                  "  fleetroot-ca cert revoke --home ca --device-id 1FLEET0000000001 --reason keyCompromise\n"
                  "  fleetroot-ca cert revoke --home ca --serial 5e01 --reason superseded --dry-run\n");
  auto options = add_home(command);
  command->add_option("--device-id", options->device_id, "the device whose certificate it is");
  command->add_option("--serial", options->serial,
                      "or the certificate's serial number, hexadecimal; the CA's own too");
  command
      ->add_option("--reason", options->reason,
                   "keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation, "
                   "privilegeWithdrawn or unspecified (RFC 5280)")
      ->required();
  add_dry_run(*command, options->dry_run);
  command->callback([options, &action] { action = [options] { return run_revoke(*options); }; });

  command = add_command(certificates, "disown", "revoke what a clock that was ahead has dated later than now",
                        "  fleetroot-ca cert disown --home ca --today 2026-11-27 --dry-run\n"
                        "  fleetroot-ca cert disown --home ca --today 2026-11-27\n");
  options = add_home(command);
  command->add_option("--today", options->today, "what a calendar says, in UTC: YYYY-MM-DD")->required();
  add_dry_run(*command, options->dry_run);
  command->callback([options, &action] { action = [options] { return run_disown(*options); }; });
}

}  // namespace fleetroot::ca
