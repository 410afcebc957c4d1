// ledger verify, ledger export
#include <fmt/format.h>

#include "factory-ca/ca_key.h"
#include "factory-ca/commands_cli.h"
#include "factory-ca/ledger_check.h"
#include "factory-ca/manifest.h"
#include "lib/cli/output_file.h"
#include "lib/cli/progress_bar.h"
#include "lib/media/signed_document.h"

namespace fleetroot::ca {
namespace {

struct LedgerOptions {
  std::string home, order, format = "cms", out, checkpoint;
  bool json = false;
};

int verify_ledger(const LedgerOptions& options) {
  constexpr std::size_t kDigest = 32;
  std::optional<std::string> noted;
  if (!options.checkpoint.empty()) {
    std::optional<Bytes> digest = from_hex(options.checkpoint);
    if (!digest || digest->size() != kDigest) {
      throw Error(ErrorCode::usage, "the checkpoint is none",
                  "give the 64 hexadecimal digits that ledger verify printed, or a bundle's answer holds");
    }
    noted = to_hex(*digest);
  }
  Ledger ledger(Home(options.home).ledger());
  cli::ProgressBar bar;
  Checkpoint checkpoint =
      check_ledger(ledger, noted, [&](std::size_t done, std::size_t all) { bar.show(done, all); });
  if (options.json) {
    print_json({{"event", "ledger"},
                {"result", "pass"},
                {"entries", checkpoint.sequence},
                {"checkpoint", checkpoint.digest}});
  } else {
    fmt::print("the log is unbroken: {} entries{}\ncheckpoint {}\n", checkpoint.sequence,
               noted ? ", among them the one that was noted" : "", checkpoint.digest);
  }
  return 0;
}

// The bytes to write: signed, or for a back end that trusts the way they come.
std::string rendered(const LedgerOptions& options, const Home& home, const nlohmann::ordered_json& manifest) {
  if (options.format == "csv") return manifest_csv(manifest);
  if (options.format == "json") return manifest.dump() + "\n";
  CaKey key(issuing_key_of(home.settings()), home.issuing_certificate());
  std::string json = manifest.dump();
  return std::string(as_text(media::sign_document(as_bytes(json), key.certificate(), key.signer().key)));
}

int export_ledger(const LedgerOptions& options) {
  std::optional<cli::OutputFile> out;
  if (!options.out.empty()) out.emplace(options.out, options.home);
  Home home(options.home);
  Ledger ledger(home.ledger());
  nlohmann::ordered_json manifest =
      manifest_of(ledger, OrderId::parse(options.order), home.issuing_certificate(), SystemClock());
  std::string text = rendered(options, home, manifest);
  if (!out) {
    fmt::print("{}", text);
    return 0;
  }
  out->write(text);
  fmt::print("manifest of order {}: {} certificates: {}\n", options.order, manifest.at("devices").size(),
             options.out);
  return 0;
}

void add_verify(CLI::App& ledger, Action& action) {
  auto options = std::make_shared<LedgerOptions>();
  CLI::App* command =
      add_command(ledger, "verify", "check the ledger against its log, and print where that stands",
                  "  fleetroot-ca ledger verify --home ca\n"
                  "  fleetroot-ca ledger verify --home ca --json\n"
                  "  fleetroot-ca ledger verify --home ca --checkpoint \"$(cat checkpoint-of-yesterday)\"\n");
  add_home_option(*command, options->home);
  command->add_option("--checkpoint", options->checkpoint,
                      "what was printed before, and noted elsewhere: the log must still hold it");
  command->add_flag("--json", options->json, "JSON for machines");
  command->callback([options, &action] {
    action = reporting(options, verify_ledger, {{"event", "ledger"}});
  });
}

void add_export(CLI::App& ledger, Action& action) {
  auto options = std::make_shared<LedgerOptions>();
  CLI::App* command =
      add_command(ledger, "export", "the delivery note of an order, for the fleet back end",
                  "  fleetroot-ca ledger export --home ca --order PO-4711 --out PO-4711.manifest\n"
                  "  fleetroot-ca ledger export --home ca --order PO-4711 --format csv --out PO-4711.csv\n"
                  "  openssl cms -verify -inform DER -in PO-4711.manifest -CAfile ca/fleet-root.pem \\\n"
                  "      -certfile ca/issuing-ca.pem -purpose any | jq '.devices[].device_id'\n");
  add_home_option(*command, options->home);
  command->add_option("--order", options->order, "the order")->required();
  command->add_option("--format", options->format, "cms (signed by the CA), json or csv")
      ->check(CLI::IsMember({"cms", "json", "csv"}))
      ->capture_default_str();
  command->add_option("--out", options->out, "where it goes (default: stdout)");
  command->callback([options, &action] { action = [options] { return export_ledger(*options); }; });
}

}  // namespace

void add_ledger_commands(CLI::App& program, Action& action) {
  CLI::App* ledger =
      add_group(program, "ledger", "the CA's memory",
                "  fleetroot-ca ledger verify --home ca\n"
                "  fleetroot-ca ledger export --home ca --order PO-4711 --out PO-4711.manifest\n");
  add_verify(*ledger, action);
  add_export(*ledger, action);
}

}  // namespace fleetroot::ca
