// serve
#include <fmt/format.h>

#include "factory-ca/commands_cli.h"
#include "factory-ca/serve.h"
#include "lib/x509/host_name.h"

namespace fleetroot::ca {
namespace {

struct Options {
  std::string home, order;
  ServeOptions serve;
  bool without_client_certificate = false;
};

// They go into the front's certificate, as they are.
void refuse_bad_names(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (is_every_address(name)) {
      throw Error(ErrorCode::usage, fmt::format("{} stands for every address, and is no server's", name),
                  "give the name or address that stations call this server by: --name ca.factory.example");
    }
    if (address_octets(name) || is_dns_name(name)) continue;
    throw Error(
        ErrorCode::usage, fmt::format("\"{}\" is no host name or address", name),
        "write it like ca.factory.example or 192.0.2.1, without a port; a name beyond ASCII as xn--…");
  }
}

int run_serve(const Options& options) {
  ServeOptions wanted = options.serve;
  refuse_bad_names(wanted.names);
  if (wanted.front.speaks_est && options.without_client_certificate) {
    throw Error(ErrorCode::usage, "EST takes a station's certificate in TLS, and nobody is asked for one",
                "leave out --no-client-certificate, or --est");
  }
  wanted.front.wants_station_certificate = !options.without_client_certificate;
  if (!options.order.empty()) wanted.order = OrderId::parse(options.order);
  return serve(Home(options.home), wanted, [](const std::string& address) {
    fmt::print("listening on https://{}\n", address);
    std::fflush(stdout);
  });
}

}  // namespace

void add_serve_commands(CLI::App& program, Action& action) {
  auto options = std::make_shared<Options>();
  http::Limits& limits = options->serve.front.limits;
  limits.body = 64 * 1024;
  CLI::App* command = add_command(
      program, "serve", "answer stations on the network",
      "  fleetroot-ca serve --home ca --listen 127.0.0.1:0     # says: listening on https://127.0.0.1:41233\n"
      "  fleetroot-ca serve --home ca --listen 0.0.0.0:8443 --name ca.factory.example\n"
      "  fleetroot-station provision ... --ca https://ca.factory.example:8443\n");
  add_home_option(*command, options->home);
  command->add_option("--listen", options->serve.listen, "ADDRESS:PORT; port 0 lets the system choose")
      ->required();
  command->add_option(
      "--name", options->serve.names,
      "a name or address that stations call this server by, besides those that it listens on");
  command->add_option("--order", options->order, "answer for this order only; it must be there already");
  command->add_flag("--no-client-certificate", options->without_client_certificate,
                    "let anybody connect; the messages are signed all the same");
  command->add_flag(
      "--est", options->serve.front.speaks_est,
      "speak EST too, at /.well-known/est/ORDER/simpleenroll; anybody may ask for the CA certificates");
  command->add_option("--max-connections", limits.connections, "at once")
      ->transform(cli::whole_number(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--max-connections-per-address", limits.connections_per_address, "at once")
      ->transform(cli::whole_number(1, 1'000'000))
      ->capture_default_str();
  command
      ->add_option("--max-requests-per-second", limits.requests_per_second_per_address,
                   "from one address (default: no limit)")
      ->transform(cli::whole_number(1, 1'000'000));
  command->callback([options, &action] { action = [options] { return run_serve(*options); }; });
}

}  // namespace fleetroot::ca
