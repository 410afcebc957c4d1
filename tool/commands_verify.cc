// verify: a token that somebody has filled, and the device's first connection.
#include <fmt/format.h>

#include <algorithm>

#include "lib/base/printable.h"
#include "lib/cli/json_line.h"
#include "lib/cli/named_file.h"
#include "lib/http/url.h"
#include "tool/device_check.h"
#include "tool/device_token.h"
#include "tool/first_contact.h"
#include "tool/journal.h"
#include "tool/token_options.h"
#include "tool/watchdog.h"

namespace fleetroot::station {
namespace {

using Json = nlohmann::ordered_json;

struct VerifyOptions {
  std::string home, device_id, preset;
  std::vector<std::string> fleet_root, issuing;
  std::string gateway, gateway_root;
  TokenOptions token;
  bool json = false, retry_pin = false;
};

// The home's, and what is named instead.
Trust read_trust(const VerifyOptions& options) {
  Trust trust{.fleet_roots = read_certificates(options.fleet_root),
              .issuing = read_certificates(options.issuing)};
  if (options.home.empty()) return trust;
  Home home(options.home);
  if (trust.fleet_roots.empty()) trust.fleet_roots = home.fleet_roots();
  if (trust.issuing.empty()) trust.issuing = home.issuing_certificates();
  return trust;
}

// How verify's one object begins.
Json event_of(const VerifyOptions& options) {
  return {{"event", "verify"}, {"device_id", options.device_id}};
}

// All that verify asks of one token.
class Verification {
 public:
  explicit Verification(const VerifyOptions& options) : options_(options) {
    if (!options.device_id.empty()) device_id_ = DeviceId::parse(options.device_id);
    if (!options.preset.empty()) (void)pkcs11::KeyPolicy::preset(options.preset, KeyAlgorithm::p256);
    if (!options.gateway.empty()) {
      (void)http::Url::parse(options.gateway);
      gateway_ = {options.gateway, cli::read_named_file(options.gateway_root, Certificate::list_from_pem)};
    }
    trust_ = read_trust(options);
  }

  // Error for all that is not about the device.
  std::vector<Finding> run() {
    open_token();
    pkcs11::KeyPolicy policy = policy_of_device();
    std::vector<Finding> findings =
        verify_device(token_->session(), policy, device_id_, trust_, SystemClock().now());
    if (is_made_here()) verify_written_chain(findings);
    if (all_passed(findings) && holds_replaced_key(policy.identity())) {
      findings.push_back(
          {"station's journal", false,
           fmt::format("device {} has another token by now, with another key", record_->device_id)});
    }
    if (gateway_) findings.push_back(meet(policy.identity(), all_passed(findings)));
    return findings;
  }

  const pkcs11::TokenInfo& token() const { return token_->info(); }
  // What the gateway said, where it has refused the device.
  const std::optional<Error>& refusal() const { return refusal_; }

 private:
  void open_token() {
    pkcs11::Uri uri = pkcs11::Uri::parse(options_.token.uri);
    pkcs11::Pin pin = options_.token.read_pin(uri);
    watch_.emplace(seconds(), [this](const Error& error) {
      if (options_.json) cli::print_failure(event_of(options_), error);
    });
    token_.emplace(uri, options_.token.module, device_id_);
    if (options_.home.empty()) return token_->open_session(pin);
    Home home(options_.home);
    token_->lock(home.file("locks"));
    Journal journal(home.file("journal.db"));
    token_->open_session(pin, journal, options_.retry_pin);
    record_ = journal.device_on_token(token_->identity());
    if (!record_ && device_id_) record_ = journal.device(*device_id_);
  }

  // Of this device, onto this token.
  bool is_made_here() const {
    return record_ && record_->state == DeviceState::provisioned && record_->token == token_->identity();
  }

  // Not so of a token that somebody has emptied since, and gone on with. Of one that passes every other
  // check.
  bool holds_replaced_key(const pkcs11::KeySpec& identity) const {
    if (!record_ || record_->state != DeviceState::replaced) return false;
    std::optional<pkcs11::KeyPair> pair = pkcs11::find_key_pair(token_->session(), identity.key.id);
    return pair && record_->has_key(pair->public_key);
  }

  // What was written beside the certificate, for those who know the root alone.
  void verify_written_chain(std::vector<Finding>& findings) const {
    for (const Certificate& certificate : record_->chain) {
      pkcs11::KeyName name = chain_name(certificate);
      bool is_there = token_->holds_alone(certificate, name);
      std::string_view fate =
          is_there ? "lies on the token" : fate_of(certificate, token_->session(), name.id);
      findings.push_back({"written chain", is_there,
                          fmt::format("{} {} with the ID {}", certificate.subject(), fate, name.id.hex())});
    }
  }

  // The gateway may take its time, too.
  int seconds() const {
    int for_token =
        options_.home.empty() ? kTokenTimeout : Home(options_.home).settings().token_timeout_seconds;
    return gateway_ ? for_token + kGatewayPatience : for_token;
  }

  // By which the device was made, where this station made it; its default otherwise.
  pkcs11::KeyPolicy policy_of_device() const {
    std::string preset = options_.preset;
    if (preset.empty() && record_) preset = record_->preset;
    if (preset.empty())
      preset = options_.home.empty() ? "fleetroot" : Home(options_.home).settings().device_preset;
    bool is_as_recorded = record_ && record_->preset == preset;
    return pkcs11::KeyPolicy::preset(
        preset, is_as_recorded ? parse_key_algorithm(record_->algorithm) : algorithm_on_token(preset));
  }

  // Where nobody knows of which kind the identity key must be: that of the key that is there.
  KeyAlgorithm algorithm_on_token(const std::string& preset) const {
    KeyAlgorithm any = KeyAlgorithm::p256;
    try {
      std::optional<pkcs11::KeyPair> pair =
          pkcs11::find_key_pair(token_->session(), pkcs11::KeyPolicy::preset(preset, any).identity().key.id);
      return pair ? pair->public_key.algorithm() : any;
    } catch (const Error& error) {
      if (!is_about_device(error.code())) throw;
      return any;  // verify_device() says what is wrong with it
    }
  }

  // The device's first connection, with the key in its token. Of one that is wrong anyway, what is not about
  // it is no more than one more finding.
  Finding meet(const pkcs11::KeySpec& identity, bool is_right_so_far) try {
    std::optional<pkcs11::KeyPair> pair = pkcs11::find_key_pair(token_->session(), identity.key.id);
    std::vector<Bytes> stored = pkcs11::read_certificates(token_->session(), identity.certificate->id);
    if (!pair || stored.size() != 1)
      return {"gateway", false, "there is no one key with one certificate to connect with"};
    std::vector<Certificate> chain{Certificate::from_der(stored.front())};
    chain.insert(chain.end(), trust_.issuing.begin(), trust_.issuing.end());
    EvpPkeyPtr key = pkcs11::make_signing_evp(token_->session(), *pair);
    DeviceId device_id = DeviceId::parse(chain.front().common_name().value_or(""));
    std::string standing = meet_gateway(*gateway_, chain, key.get(), device_id);
    return {"gateway", true, fmt::format("{} says {}", gateway_->url, standing)};
  } catch (const Error& error) {
    if (error.code() == ErrorCode::not_authorised) {
      refusal_ = error;
    } else if (!is_about_device(error.code()) && is_right_so_far) {
      throw;
    }
    return {"gateway", false, error.what()};
  }

  const VerifyOptions& options_;
  std::optional<DeviceId> device_id_;
  std::optional<Gateway> gateway_;
  Trust trust_;
  std::optional<TokenWatch> watch_;
  std::optional<DeviceToken> token_;
  std::optional<DeviceRecord> record_;
  std::optional<Error> refusal_;
};

void print_as_json(const VerifyOptions& options, const std::vector<Finding>& findings) {
  Json checks = Json::array();
  for (const Finding& finding : findings) {
    checks.push_back(
        {{"check", finding.check}, {"result", finding.passed ? "pass" : "fail"}, {"detail", finding.detail}});
  }
  Json event = event_of(options);
  event["result"] = all_passed(findings) ? "pass" : "fail";
  event["checks"] = checks;
  cli::print_json(event);
}

void print(const std::string& device, const std::vector<Finding>& findings) {
  for (const Finding& finding : findings) {
    fmt::print("{}  {:<18} {}\n", finding.passed ? "ok  " : "FAIL", finding.check, printable(finding.detail));
  }
  fmt::print("{} {}\n", all_passed(findings) ? "PASS" : "FAIL", printable(device));
}

// A device that only the gateway does not want may be as it should be, and so may one whose CA is only not
// known here.
[[noreturn]] void fail(const std::vector<Finding>& findings, const std::optional<Error>& refusal) {
  auto has_failed = [](const Finding& finding) { return !finding.passed; };
  const Finding& first = *std::ranges::find_if(findings, has_failed);
  bool is_only_one = std::ranges::count_if(findings, has_failed) == 1;
  if (is_only_one && first.check == "gateway" && refusal) throw Error(*refusal);
  bool says_what_to_do = is_only_one && first.check == "chain";
  throw Error(ErrorCode::certificate_rejected, "this device does not have the identity that it should have",
              "hold this device; " + (says_what_to_do ? first.hint : "the lines that say FAIL tell why"));
}

int verify(const VerifyOptions& options) {
  std::optional<Verification> verification;
  std::vector<Finding> findings = cli::or_json_failure(options.json, event_of(options), [&] {
    verification.emplace(options);
    return verification->run();
  });
  if (options.json) {
    print_as_json(options, findings);
  } else {
    print(options.device_id.empty() ? verification->token().describe() : options.device_id, findings);
  }
  std::fflush(stdout);
  if (!all_passed(findings)) fail(findings, verification->refusal());
  return 0;
}

}  // namespace

void add_verify_command(CLI::App& program, Action& action) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = add_command(
      program, "verify", "check a token that somebody has filled",
      "  fleetroot-station verify --home st --device-id 1FLEET0000000001 --token 'pkcs11:token=dev-1?…'\n"
      "  … --gateway https://gw.example.test:8443 --gateway-ca gateway-root.pem     its first connection, "
      "too\n"
      "  fleetroot-station verify --fleet-root fleet-root.pem --ca-certificate issuing-ca.pem --token "
      "'pkcs11:…'\n");
  CLI::Option* home = command->add_option("--home", options->home, "the station's home directory")
                          ->envname("FLEETROOT_STATION_HOME");
  CLI::Option* root =
      command->add_option("--fleet-root", options->fleet_root, "trust this root instead of the home's, PEM");
  command->add_option("--ca-certificate", options->issuing, "the issuing CA's certificate, PEM")->needs(root);
  command->add_option("--device-id", options->device_id, "the ID that the certificate must carry");
  command->add_option("--preset", options->preset, "key policy: fleetroot, aktualizr, lmp");
  CLI::Option* gateway =
      command->add_option("--gateway", options->gateway, "connect to this gateway as the device, https://…");
  CLI::Option* gateway_root =
      command->add_option("--gateway-ca", options->gateway_root, "the gateway's root, PEM, which is pinned");
  gateway->needs(gateway_root);
  gateway_root->needs(gateway);
  options->token.add_to(*command);
  command->add_flag("--retry-pin", options->retry_pin, "try the PIN again although it was wrong before")
      ->needs(home);
  command->add_flag("--json", options->json, "one JSON object");
  command->callback([options, home, root, &action] {
    if (home->empty() && root->empty()) throw CLI::RequiredError("--home or --fleet-root");
    action = [options] { return verify(*options); };
  });
}
}  // namespace fleetroot::station
