// init, enroll, renew, config check
#include <fmt/format.h>

#include "lib/cli/config_check.h"
#include "lib/cli/named_file.h"
#include "tool/commands_cli.h"
#include "tool/enroll.h"
#include "tool/home.h"
#include "tool/renew.h"

namespace fleetroot::station {
namespace {

struct InitOptions {
  std::string home, name, token, algorithm = "p256";
};

void add_init(CLI::App& program, Action& action) {
  auto options = std::make_shared<InitOptions>();
  CLI::App* command =
      add_command(program, "init", "make a station and its key",
                  "  fleetroot-station init --home st --name st-01\n"
                  "  fleetroot-station init --home st --name st-01 --token "
                  "'pkcs11:token=station?module-path=/usr/lib/vendor.so&pin-source=file:/etc/st.pin'\n");
  add_home_option(*command, options->home);
  command->add_option("--name", options->name, "the station's name; its certificate will carry it")
      ->required();
  command->add_option(
      "--token", options->token,
      "PKCS#11 URI of the token for the station's key (default: a SoftHSM token in the home)");
  command->add_option("--algorithm", options->algorithm, "of the station's key: p256, p384, rsa2048, rsa3072")
      ->capture_default_str();
  command->callback([options, &action] {
    action = [options] {
      PublicKey key = Home::create(options->home, StationName::parse(options->name), options->token,
                                   parse_key_algorithm(options->algorithm));
      fmt::print(
          "the SHA-256 of its public key, for the CA's side to compare: {}\n"
          "{}/station.csr is the request for the factory CA:\n"
          "  fleetroot-ca station enroll --home CA --name {} --request {}/station.csr --out {}.pem\n",
          key.fingerprint(), options->home, options->name, options->home, options->name);
      return 0;
    };
  });
}

struct EnrollOptions {
  std::string home, certificate, root, ca;
  std::vector<std::string> issuing;
};

void add_enroll(CLI::App& program, Action& action) {
  auto options = std::make_shared<EnrollOptions>();
  CLI::App* command =
      add_command(program, "enroll", "take the station's certificate and pin the CA",
                  "  fleetroot-station enroll --home st --certificate st-01.pem \\\n"
                  "      --ca-certificate ca/issuing-ca.pem --fleet-root ca/fleet-root.pem \\\n"
                  "      --ca 'exec:fleetroot-ca respond --home ca'\n");
  add_home_option(*command, options->home);
  command->add_option("--certificate", options->certificate, "the station's certificate, PEM")->required();
  command
      ->add_option(
          "--ca-certificate", options->issuing,
          "the factory CA's certificate, PEM; it is pinned. Once for each earlier one, too, after it")
      ->allow_extra_args(false)
      ->required();
  command->add_option("--fleet-root", options->root, "the Fleet Root's certificate, PEM; it is pinned")
      ->required();
  command
      ->add_option("--ca", options->ca,
                   "where requests go: https://…, cmp+http://…, est+https://…, media:DIR or exec:COMMAND")
      ->required();
  command->callback([options, &action] {
    action = [options] {
      enroll(Home(options->home),
             {.certificate = cli::read_named_file(options->certificate, Certificate::from_pem),
              .issuing = read_certificates(options->issuing),
              .fleet_roots = cli::read_named_file(options->root, Certificate::list_from_pem),
              .ca = options->ca},
             SystemClock().now());
      fmt::print("enrolled; try: fleetroot-station config check --home {}\n", options->home);
      return 0;
    };
  });
}

struct RenewOptions {
  std::string home, ca;
};

void add_renew(CLI::App& program, Action& action) {
  auto options = std::make_shared<RenewOptions>();
  CLI::App* command =
      add_command(program, "renew", "have the station's certificate renewed before it ends",
                  "  fleetroot-station renew --home st\n"
                  "  fleetroot-station renew --home st --ca 'exec:fleetroot-ca respond --home ca'\n");
  add_home_option(*command, options->home);
  command->add_option("--ca", options->ca, "where to ask (default: as enrolled)")->envname("FLEETROOT_CA");
  command->callback([options, &action] {
    action = [options] {
      Renewal renewal = renew(Home(options->home), options->ca, SystemClock());
      fmt::print("{}; the station's certificate is valid until {}\n",
                 renewal.is_new ? "renewed" : "nothing to renew yet",
                 format_time(renewal.certificate.not_after()));
      return 0;
    };
  });
}

}  // namespace

void add_setup_commands(CLI::App& program, Action& action) {
  add_init(program, action);
  add_enroll(program, action);
  add_renew(program, action);
  cli::add_config_check(program, action,
                        {.program = "fleetroot-station",
                         .home = "st",
                         .summary = "check the configuration, the key and the certificates",
                         .add_home_option = add_home_option,
                         .check = [](const std::string& home) {
                           return check_configuration(Home(home), SystemClock().now());
                         }});
}

}  // namespace fleetroot::station
