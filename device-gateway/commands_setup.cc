// init, serve, config check
#include <fmt/format.h>

#include <algorithm>

#include "device-gateway/commands_cli.h"
#include "device-gateway/serve.h"
#include "device-gateway/setup.h"
#include "lib/cli/config_check.h"

namespace fleetroot::gateway {
namespace {

struct InitOptions {
  std::string home, token, algorithm = "p256";
  std::vector<std::string> names, environments, shared;
};

std::vector<EnvironmentName> parse_environments(const std::vector<std::string>& names) {
  std::vector<EnvironmentName> environments;
  for (const std::string& name : names) environments.push_back(EnvironmentName::parse(name));
  return environments;
}

int init(const InitOptions& options) {
  std::vector<EnvironmentName> environments = parse_environments(options.environments);
  std::vector<EnvironmentName> shared = parse_environments(options.shared);
  EnvironmentName test = EnvironmentName::parse("test");
  bool is_default =
      shared.empty() && std::find(environments.begin(), environments.end(), test) != environments.end();
  if (is_default) shared.push_back(test);
  create_gateway({.home = options.home,
                  .names = options.names,
                  .environments = environments,
                  .shared = shared,
                  .token = options.token,
                  .algorithm = parse_key_algorithm(options.algorithm)},
                 SystemClock());
  for (const EnvironmentName& environment : environments) {
    fmt::print("{} is what devices of {} pin\n",
               Home(options.home).file(environment, "gateway-root.pem").string(), environment.text());
  }
  return 0;
}

void add_init(CLI::App& program, Action& action) {
  auto options = std::make_shared<InitOptions>();
  CLI::App* command = add_command(
      program, "init", "make a gateway",
      "  fleetroot-gateway init --home gw --name gw.example.test --environment production --environment "
      "test\n"
      "  … --name gw.example.test --name 192.0.2.7                 under an address too\n"
      "  … --environment staging --shared-credentials staging      devices without hardware may register\n"
      "  … --token 'pkcs11:token=gateway?module-path=/usr/lib/vendor.so&pin-source=file:/etc/gateway.pin'\n");
  add_home_option(*command, options->home);
  command
      ->add_option("--name", options->names,
                   "host name or address that devices connect to; the first names it")
      ->required();
  command
      ->add_option("--environment", options->environments, "a world of its own; may be given several times")
      ->required();
  command->add_option("--shared-credentials", options->shared,
                      "environments that allow them (default: test, where there is one)");
  command->add_option("--token", options->token,
                      "PKCS#11 URI for all keys (default: a SoftHSM token in the home)");
  command->add_option("--algorithm", options->algorithm, "p256, p384, rsa2048, rsa3072")
      ->capture_default_str();
  command->callback([options, &action] { action = [options] { return init(*options); }; });
}

struct ServeOptions {
  std::string home, metrics;
  std::vector<std::string> listen;
  bool rehearsal = false;
};

int run_server(const ServeOptions& options) {
  Serving serving{.listen = {}, .metrics = options.metrics, .is_rehearsal = options.rehearsal};
  for (const std::string& listen : options.listen) {
    std::size_t equals = listen.find('=');
    if (equals == std::string::npos ||
        !serving.listen.emplace(listen.substr(0, equals), listen.substr(equals + 1)).second) {
      throw Error(ErrorCode::usage, fmt::format("--listen {} cannot be understood", listen),
                  "write --listen production=127.0.0.1:8443, once for each environment");
    }
  }
  return serve(Home(options.home), serving, SystemClock());
}

void add_serve(CLI::App& program, Action& action) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* command = add_command(
      program, "serve", "take connections until told to end",
      "  fleetroot-gateway serve --home gw --listen production=127.0.0.1:0 --listen test=127.0.0.1:0\n"
      "  fleetroot-gateway serve --home gw --listen production=0.0.0.0:8443 --metrics 127.0.0.1:9100\n"
      "  fleetroot-gateway serve --home gw --listen production=0.0.0.0:8443 --rehearsal    registers "
      "nothing\n"
      "Prints a line \"listening on https://ADDRESS (ENVIRONMENT)\" for each, then its log as JSON lines.\n");
  add_home_option(*command, options->home);
  command->add_option("--listen", options->listen, "ENVIRONMENT=ADDRESS:PORT; port 0: the system chooses")
      ->required();
  command->add_option("--metrics", options->metrics,
                      "ADDRESS:PORT for Prometheus, without TLS: keep it local");
  command->add_flag("--rehearsal", options->rehearsal, "admit as ever, and register nothing");
  command->callback([options, &action] { action = [options] { return run_server(*options); }; });
}

}  // namespace

void add_setup_commands(CLI::App& program, Action& action) {
  add_init(program, action);
  add_serve(program, action);
  cli::add_config_check(
      program, action,
      {.program = "fleetroot-gateway",
       .home = "gw",
       .summary = "check configuration, registry, keys and certificates",
       .add_home_option = add_home_option,
       .check = [](const std::string& home) { return check_configuration(Home(home), SystemClock()); }});
}

}  // namespace fleetroot::gateway
