// credentials create, list, revoke
#include <fmt/format.h>

#include "device-gateway/commands_cli.h"
#include "device-gateway/shared_credentials.h"

namespace fleetroot::gateway {
namespace {

struct CreateOptions {
  std::string home, environment, out, url;
  std::int64_t quota = 100, days = 30;
};

int create(const CreateOptions& options) {
  CredentialRecord made = create_credentials(Home(options.home),
                                             {.environment = EnvironmentName::parse(options.environment),
                                              .out = options.out,
                                              .quota = options.quota,
                                              .lasts = std::chrono::days(options.days),
                                              .url = options.url},
                                             SystemClock());
  fmt::print("{}: {} is good for {} devices until {}\n", options.out, made.name.text(), made.quota,
             format_time(made.expires));
  return 0;
}

void add_create(CLI::App& group, Action& action) {
  auto options = std::make_shared<CreateOptions>();
  CLI::App* command = add_command(
      group, "create", "make credentials.zip for devices without hardware",
      "  fleetroot-gateway credentials create --home gw --environment test --out credentials.zip\n"
      "  … --quota 20 --expires 7 --url https://gw.example.test:8443\n");
  add_home_option(*command, options->home);
  add_environment_option(*command, options->environment);
  command->add_option("--out", options->out, "where the archive goes; it is not overwritten")->required();
  command->add_option("--quota", options->quota, "how many devices it may make")
      ->transform(cli::whole_number(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--expires", options->days, "after how many days")
      ->transform(cli::whole_number(1, 3650))
      ->capture_default_str();
  command->add_option("--url", options->url, "where devices find the gateway (default: gateway.toml)");
  command->callback([options, &action] { action = [options] { return create(*options); }; });
}

struct ListOptions {
  std::string home;
  bool json = false;
};

void add_list(CLI::App& group, Action& action) {
  auto options = std::make_shared<ListOptions>();
  CLI::App* command = add_command(group, "list", "show the provisioning keys",
                                  "  fleetroot-gateway credentials list --home gw\n"
                                  "  fleetroot-gateway credentials list --home gw --json\n");
  add_home_option(*command, options->home);
  command->add_flag("--json", options->json, "one JSON object a key");
  command->callback([options, &action] {
    action = [options] {
      Registry registry(Home(options->home).registry());
      for (const CredentialRecord& key : registry.credentials()) {
        if (options->json) {
          print_json({{"name", key.name.text()},
                      {"environment", key.environment.text()},
                      {"quota", key.quota},
                      {"used", key.used},
                      {"expires", format_time(key.expires)},
                      {"revoked", key.is_revoked},
                      {"certificate", key.certificate}});
        } else {
          fmt::print("{:<20} {:<12} {}/{} until {}{}\n", key.name.text(), key.environment.text(), key.used,
                     key.quota, format_time(key.expires), key.is_revoked ? ", revoked" : "");
        }
      }
      return 0;
    };
  });
}

struct RevokeOptions {
  std::string home, name;
  bool dry_run = false;
};

void add_revoke(CLI::App& group, Action& action) {
  auto options = std::make_shared<RevokeOptions>();
  CLI::App* command =
      add_command(group, "revoke", "let a provisioning key make no more devices",
                  "  fleetroot-gateway credentials revoke --home gw --name key-5ad3c0ffee12\n"
                  "  fleetroot-gateway credentials revoke --home gw --name key-5ad3c0ffee12 --dry-run\n");
  add_home_option(*command, options->home);
  command->add_option("--name", options->name, "the key's name; see credentials list")->required();
  command->add_flag("--dry-run", options->dry_run, "say what would happen, and change nothing");
  command->callback([options, &action] {
    action = [options] {
      Registry registry(Home(options->home).registry());
      CredentialName name = CredentialName::parse(options->name);
      WriteTransaction transaction = registry.write();
      std::optional<CredentialRecord> key = registry.credential(name);
      if (!key) {
        throw Error(ErrorCode::bad_request, fmt::format("there is no provisioning key {}", name.text()),
                    "fleetroot-gateway credentials list shows them");
      }
      if (options->dry_run) {
        fmt::print("dry run, nothing has changed: {} would be revoked; it has made {} of {} devices\n",
                   name.text(), key->used, key->quota);
        return 0;
      }
      registry.revoke_credential(name);
      transaction.commit();
      fmt::print("{} is revoked; the devices that it made stay\n", name.text());
      return 0;
    };
  });
}

}  // namespace

void add_credential_commands(CLI::App& program, Action& action) {
  CLI::App* credentials = add_group(
      program, "credentials", "shared credentials for devices without hardware",
      "  fleetroot-gateway credentials create --home gw --environment test --out credentials.zip\n");
  add_create(*credentials, action);
  add_list(*credentials, action);
  add_revoke(*credentials, action);
}

}  // namespace fleetroot::gateway
