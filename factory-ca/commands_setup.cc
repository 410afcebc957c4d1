// init, root init, root issue, root accept, config check
#include <fmt/format.h>

#include "factory-ca/commands_cli.h"
#include "factory-ca/setup.h"
#include "lib/cli/config_check.h"
#include "lib/cli/named_file.h"
#include "lib/cli/output_file.h"
#include "lib/x509/certificate_request.h"

namespace fleetroot::ca {
namespace {

struct InitOptions {
  std::string home, name, algorithm = "p256", root_token, issuing_token, issuing_key_id, fleet_root,
                          issuing_certificate;
  bool single_tier = false, external_root = false;
};

[[noreturn]] void refuse_usage(const char* message, const char* hint) {
  throw Error(ErrorCode::usage, message, hint);
}

int adopt(const InitOptions& options) {
  if (options.fleet_root.empty() || options.issuing_certificate.empty() || options.issuing_token.empty()) {
    refuse_usage("an existing CA is three things: --fleet-root, --issuing-certificate and --issuing-token",
                 "give all three; see fleetroot-ca init --help");
  }
  if (options.single_tier || options.external_root || !options.root_token.empty()) {
    refuse_usage("an existing CA is taken as it is",
                 "leave out --single-tier, --external-root and --root-token");
  }
  adopt_ca(
      {.home = options.home,
       .name = options.name,
       .issuing_token = options.issuing_token,
       .issuing_key_id = pkcs11::KeyId::parse(options.issuing_key_id.empty() ? "01" : options.issuing_key_id),
       .fleet_root = cli::read_named_file(options.fleet_root, Certificate::from_pem),
       .issuing_certificate = cli::read_named_file(options.issuing_certificate, Certificate::from_pem)},
      SystemClock());
  fmt::print("{} is taken over; try: fleetroot-ca config check --home {}\n", options.issuing_certificate,
             options.home);
  return 0;
}

int init(const InitOptions& options) {
  if (!options.fleet_root.empty() || !options.issuing_certificate.empty()) return adopt(options);
  if (!options.issuing_key_id.empty()) {
    refuse_usage(
        "--issuing-key-id names the key of an existing CA",
        "leave it out: a new key gets the ID 01; or give --fleet-root and --issuing-certificate too");
  }
  if (options.single_tier && options.external_root) {
    refuse_usage("--single-tier and --external-root exclude each other", "choose one");
  }
  if (options.single_tier && !options.issuing_token.empty()) {
    refuse_usage("a single tier has one key, the Fleet Root's", "name its token with --root-token");
  }
  if (options.external_root && !options.root_token.empty()) {
    refuse_usage("an external root's token is elsewhere", "leave out --root-token");
  }
  Tiers tiers = options.single_tier     ? Tiers::single
                : options.external_root ? Tiers::external_root
                                        : Tiers::two;
  create_ca({.home = options.home,
             .name = options.name,
             .tiers = tiers,
             .algorithm = parse_key_algorithm(options.algorithm),
             .root_token = options.root_token,
             .issuing_token = options.issuing_token},
            SystemClock());
  if (options.external_root) {
    CertificateRequest request =
        cli::read_named_file(Home(options.home).file("issuing-ca.csr"), CertificateRequest::from_pem);
    fmt::print(
        "the SHA-256 of its public key, for the root's side to compare: {1}\n"
        "{0}/issuing-ca.csr is the request for the Fleet Root; take over its answer with\n"
        "  fleetroot-ca root accept --home {0} --fleet-root ROOT.pem --issuing-certificate ISSUED.pem\n",
        options.home, request.public_key().fingerprint());
    return 0;
  }
  fmt::print("{0}/fleet-root.pem is what gateways trust, {0}/issuing-ca.pem what stations need\n",
             options.home);
  if (options.root_token.empty() && tiers == Tiers::two) {
    fmt::print("{}/root holds the Fleet Root's key: keep a copy in a safe, and none here\n", options.home);
  }
  return 0;
}

void add_init(CLI::App& program, Action& action) {
  auto options = std::make_shared<InitOptions>();
  CLI::App* command = add_command(
      program, "init", "make a factory CA",
      "  fleetroot-ca init --home ca --name \"Acme Factory 1\"\n"
      "  fleetroot-ca init --home ca --name \"Acme Factory 1\" --external-root\n"
      "  fleetroot-ca init --home ca --name \"Acme Factory 1\" \\\n"
      "      --issuing-token 'pkcs11:token=ca?module-path=/usr/lib/vendor.so&pin-source=file:/etc/ca.pin' "
      "\\\n"
      "      --fleet-root root.pem --issuing-certificate issuing.pem      # take over what exists\n");
  add_home_option(*command, options->home);
  command->add_option("--name", options->name, "the factory's name; it goes into the certificates")
      ->required();
  command->add_option("--algorithm", options->algorithm, "of the new keys: p256, p384, rsa2048, rsa3072")
      ->capture_default_str();
  command->add_flag("--single-tier", options->single_tier, "the Fleet Root signs devices itself");
  command->add_flag("--external-root", options->external_root,
                    "make an issuing key and its request; the root is elsewhere");
  command->add_option("--root-token", options->root_token,
                      "PKCS#11 URI for the Fleet Root's key (default: a SoftHSM token in the home)");
  command->add_option("--issuing-token", options->issuing_token,
                      "PKCS#11 URI for the issuing key (default: a SoftHSM token in the home)");
  command->add_option("--issuing-key-id", options->issuing_key_id,
                      "CKA_ID of an existing issuing key (default: 01)");
  command->add_option("--fleet-root", options->fleet_root, "an existing Fleet Root's certificate, PEM");
  command->add_option("--issuing-certificate", options->issuing_certificate,
                      "an existing issuing certificate, PEM");
  command->callback([options, &action] { action = [options] { return init(*options); }; });
}

void add_root_init(CLI::App& root, Action& action) {
  auto options = std::make_shared<InitOptions>();
  CLI::App* command = add_command(root, "init", "make a Fleet Root alone, to be kept offline",
                                  "  fleetroot-ca root init --home root --name \"Acme\"\n"
                                  "  fleetroot-ca root init --home root --name \"Acme\" --algorithm p384 \\\n"
                                  "      --token 'pkcs11:token=root?module-path=/usr/lib/vendor.so'\n");
  add_home_option(*command, options->home);
  command->add_option("--name", options->name, "its name; it goes into the certificate")->required();
  command->add_option("--algorithm", options->algorithm, "p256, p384, rsa2048, rsa3072")
      ->capture_default_str();
  command->add_option("--token", options->root_token,
                      "PKCS#11 URI for its key (default: a SoftHSM token in the home)");
  command->callback([options, &action] {
    action = [options] {
      create_ca({.home = options->home,
                 .name = options->name,
                 .tiers = Tiers::root_only,
                 .algorithm = parse_key_algorithm(options->algorithm),
                 .root_token = options->root_token,
                 .issuing_token = {}},
                SystemClock());
      fmt::print("{}/fleet-root.pem is what gateways trust\n", options->home);
      return 0;
    };
  });
}

struct RootOptions {
  std::string home, request, out, fleet_root, issuing_certificate;
};

void add_root_issue(CLI::App& root, Action& action) {
  auto options = std::make_shared<RootOptions>();
  CLI::App* command =
      add_command(root, "issue", "issue an issuing CA from its request",
                  "  fleetroot-ca root issue --home root --request ca/issuing-ca.csr --out issuing.pem\n");
  add_home_option(*command, options->home);
  command->add_option("--request", options->request, "the issuing CA's PKCS#10 request, PEM or DER")
      ->required();
  command->add_option("--out", options->out, "where its certificate goes, PEM")->required();
  command->callback([options, &action] {
    action = [options] {
      cli::OutputFile out(options->out, options->home, {options->request});
      Certificate certificate = issue_authority(
          Home(options->home), cli::read_named_file(options->request, CertificateRequest::from_pem),
          SystemClock());
      out.write(certificate.pem());
      fmt::print(
          "{} is certified: {}\n"
          "the SHA-256 of its public key, as the factory's init has to have said it: {}\n",
          certificate.subject(), options->out, certificate.public_key().fingerprint());
      return 0;
    };
  });
}

void add_root_accept(CLI::App& root, Action& action) {
  auto options = std::make_shared<RootOptions>();
  CLI::App* command = add_command(
      root, "accept", "take over what an external root issued",
      "  fleetroot-ca root accept --home ca --fleet-root root.pem --issuing-certificate issuing.pem\n");
  add_home_option(*command, options->home);
  command->add_option("--fleet-root", options->fleet_root, "the Fleet Root's certificate, PEM")->required();
  command
      ->add_option("--issuing-certificate", options->issuing_certificate,
                   "the certificate for issuing-ca.csr, PEM")
      ->required();
  command->callback([options, &action] {
    action = [options] {
      accept_certificate(
          Home(options->home), cli::read_named_file(options->fleet_root, Certificate::from_pem),
          cli::read_named_file(options->issuing_certificate, Certificate::from_pem), SystemClock());
      fmt::print("accepted; try: fleetroot-ca config check --home {}\n", options->home);
      return 0;
    };
  });
}

}  // namespace

void add_setup_commands(CLI::App& program, Action& action) {
  add_init(program, action);
  CLI::App* root =
      add_group(program, "root", "work of a Fleet Root, offline",
                "  fleetroot-ca root init --home root --name \"Acme\"\n"
                "  fleetroot-ca root issue --home root --request issuing-ca.csr --out issuing.pem\n");
  add_root_init(*root, action);
  add_root_issue(*root, action);
  add_root_accept(*root, action);
  cli::add_config_check(
      program, action,
      {.program = "fleetroot-ca",
       .home = "ca",
       .summary = "check the configuration, the profiles, the key and the log",
       .add_home_option = add_home_option,
       .check = [](const std::string& home) { return check_configuration(Home(home), SystemClock()); }});
}

}  // namespace fleetroot::ca
