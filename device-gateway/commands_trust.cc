// fleet-root add, list, remove; crl import; manifest import
#include <fmt/format.h>

#include "device-gateway/commands_cli.h"
#include "device-gateway/fleet_roots.h"
#include "device-gateway/manifest.h"
#include "device-gateway/revocation.h"
#include "lib/base/files.h"
#include "lib/cli/named_file.h"

namespace fleetroot::gateway {
namespace {

struct RootOptions {
  std::string home, environment, file, fingerprint;
  bool json = false;
};

int add_root(const RootOptions& options) {
  Home home(options.home);
  EnvironmentName environment = environment_of(home, options.environment);
  Certificate root = cli::read_named_file(options.file, Certificate::from_pem);
  Registry registry(home.registry());
  bool is_new = add_fleet_root(registry, environment, root, SystemClock().now());
  fmt::print("{} {} {}, fingerprint {}\n", environment.text(), is_new ? "now trusts" : "already trusts",
             root.subject(), root.fingerprint());
  return 0;
}

void add_add(CLI::App& group, Action& action) {
  auto options = std::make_shared<RootOptions>();
  CLI::App* command = add_command(
      group, "add", "trust a root's devices",
      "  fleetroot-gateway fleet-root add --home gw --environment production ca/fleet-root.pem\n");
  add_home_option(*command, options->home);
  add_environment_option(*command, options->environment);
  command->add_option("FILE", options->file, "the Fleet Root's certificate, PEM")->required();
  command->callback([options, &action] { action = [options] { return add_root(*options); }; });
}

void add_list(CLI::App& group, Action& action) {
  auto options = std::make_shared<RootOptions>();
  CLI::App* command = add_command(group, "list", "show the Fleet Roots",
                                  "  fleetroot-gateway fleet-root list --home gw\n"
                                  "  fleetroot-gateway fleet-root list --home gw --json\n");
  add_home_option(*command, options->home);
  command->add_flag("--json", options->json, "one JSON object a root");
  command->callback([options, &action] {
    action = [options] {
      Registry registry(Home(options->home).registry());
      for (const RootRecord& root : registry.roots()) {
        if (options->json) {
          print_json({{"environment", root.environment.text()},
                      {"subject", root.certificate.subject()},
                      {"fingerprint", root.fingerprint},
                      {"not_after", format_time(root.certificate.not_after())},
                      {"added_at", root.added_at}});
        } else {
          fmt::print("{:<16} {}  {}\n", root.environment.text(), root.fingerprint.substr(0, 16),
                     root.certificate.subject());
        }
      }
      return 0;
    };
  });
}

void add_remove(CLI::App& group, Action& action) {
  auto options = std::make_shared<RootOptions>();
  CLI::App* command = add_command(
      group, "remove", "trust a root's devices no more",
      "  fleetroot-gateway fleet-root remove --home gw --environment production --fingerprint 6c1f03a9\n");
  add_home_option(*command, options->home);
  add_environment_option(*command, options->environment);
  command->add_option("--fingerprint", options->fingerprint, "its SHA-256, or the beginning of it")
      ->required();
  command->callback([options, &action] {
    action = [options] {
      Home home(options->home);
      EnvironmentName environment = environment_of(home, options->environment);
      Registry registry(home.registry());
      remove_fleet_root(registry, environment, options->fingerprint);
      fmt::print("{} no longer trusts it; its devices are sent away within seconds\n", environment.text());
      return 0;
    };
  });
}

struct ImportOptions {
  std::string home, environment, file;
  std::vector<std::string> issuers;
  bool dry_run = false;

  Commitment commitment() const { return dry_run ? Commitment::dry_run : Commitment::for_real; }
  const char* result(bool is_new) const {
    if (!is_new) return "already here";
    return dry_run ? "would be imported" : "imported";
  }
};

std::vector<Certificate> read_issuers(const std::vector<std::string>& files) {
  return cli::read_named_files(files, Certificate::list_from_pem);
}

int import_crl(const ImportOptions& options) {
  Home home(options.home);
  EnvironmentName environment = environment_of(home, options.environment);
  CertificateRevocationList list =
      cli::read_named_file(options.file, CertificateRevocationList::from_pem, kMaximumListSize);
  std::vector<Certificate> issuers = read_issuers(options.issuers);
  Registry registry(home.registry());
  Time now = SystemClock().now();
  bool is_new = import_list(registry, environment, list, issuers, now, options.commitment());
  fmt::print("{}: list {} of {}, {} certificates{}\n", options.result(is_new), list.number(), list.issuer(),
             list.entries().size(),
             list.is_overdue(now) ? "; it should have been replaced by a newer one" : "");
  return 0;
}

void add_import_options(CLI::App& command, ImportOptions& options) {
  add_home_option(command, options.home);
  add_environment_option(command, options.environment);
  command
      .add_option(
          "--ca-certificate", options.issuers,
          "the issuing CA's certificate, PEM, unless a Fleet Root signed the file; once for each file")
      ->allow_extra_args(false);
  command.add_flag("--dry-run", options.dry_run, "say what would happen, and change nothing");
}

void add_crl(CLI::App& program, Action& action) {
  auto options = std::make_shared<ImportOptions>();
  CLI::App* group = add_group(program, "crl", "what CAs have revoked",
                              "  fleetroot-gateway crl import --home gw --environment production \\\n"
                              "      --ca-certificate ca/issuing-ca.pem crl.pem\n");
  CLI::App* command = add_command(*group, "import", "refuse what a CA has revoked, within seconds",
                                  "  fleetroot-gateway crl import --home gw --environment production \\\n"
                                  "      --ca-certificate ca/issuing-ca.pem crl.pem\n"
                                  "  … --dry-run crl.pem\n");
  add_import_options(*command, *options);
  command->add_option("FILE", options->file, "the list, complete or delta, PEM or DER")->required();
  command->callback([options, &action] { action = [options] { return import_crl(*options); }; });
}

int import_delivery(const ImportOptions& options) {
  Home home(options.home);
  EnvironmentName environment = environment_of(home, options.environment);
  std::string document = read_file(options.file, kMaximumManifestSize);
  Registry registry(home.registry());
  Imported imported =
      import_manifest(registry, environment, as_bytes(document), read_issuers(options.issuers),
                      SystemClock().now(), options.commitment());
  fmt::print("{}: order {}, {} certificates\n", options.result(imported.is_new), imported.order,
             imported.certificates);
  return 0;
}

void add_manifest(CLI::App& program, Action& action) {
  auto options = std::make_shared<ImportOptions>();
  CLI::App* group = add_group(program, "manifest", "what factories have delivered",
                              "  fleetroot-gateway manifest import --home gw --environment production \\\n"
                              "      --ca-certificate ca/issuing-ca.pem PO-4711.manifest\n");
  CLI::App* command =
      add_command(*group, "import", "take over a CA's delivery note of an order",
                  "  fleetroot-gateway manifest import --home gw --environment production \\\n"
                  "      --ca-certificate ca/issuing-ca.pem PO-4711.manifest\n"
                  "  … --dry-run PO-4711.manifest\n");
  add_import_options(*command, *options);
  command->add_option("FILE", options->file, "the manifest, as fleetroot-ca ledger export made it")
      ->required();
  command->callback([options, &action] { action = [options] { return import_delivery(*options); }; });
}

}  // namespace

void add_trust_commands(CLI::App& program, Action& action) {
  CLI::App* root =
      add_group(program, "fleet-root", "roots that devices chain to",
                "  fleetroot-gateway fleet-root add --home gw --environment production ca/fleet-root.pem\n");
  add_add(*root, action);
  add_list(*root, action);
  add_remove(*root, action);
  add_crl(program, action);
  add_manifest(program, action);
}

}  // namespace fleetroot::gateway
