#include "tool/provision.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "lib/base/files.h"
#include "lib/base/program.h"
#include "lib/x509/certificate_request.h"
#include "lib/x509/provisioning_statement.h"
#include "pkcs11/softhsm.h"
#include "tool/placeholder.h"

namespace fleetroot::station {

using pkcs11::KeyPair;
using pkcs11::KeySpec;
using pkcs11::ObjectClass;
using pkcs11::TokenObject;

namespace {

// The CA, or the token, said no to this key before any certificate existed for it.
bool is_final_refusal(ErrorCode code) {
  static constexpr std::array kRefusals{ErrorCode::bad_request,
                                        ErrorCode::not_on_order,
                                        ErrorCode::order_unknown,
                                        ErrorCode::order_full,
                                        ErrorCode::order_closed,
                                        ErrorCode::key_reused,
                                        ErrorCode::device_has_certificate,
                                        ErrorCode::device_revoked,
                                        ErrorCode::device_scrapped,
                                        ErrorCode::refused_by_ca,
                                        ErrorCode::not_authorised,
                                        ErrorCode::token_untrusted};
  return std::find(kRefusals.begin(), kRefusals.end(), code) != kRefusals.end();
}

bool says_that_key_has_no_certificate(ErrorCode code) {
  static constexpr std::array kCodes{ErrorCode::not_on_order, ErrorCode::order_unknown, ErrorCode::order_full,
                                     ErrorCode::order_closed, ErrorCode::device_has_certificate};
  return std::find(kCodes.begin(), kCodes.end(), code) != kCodes.end();
}

Error hung_token(int seconds) {
  return {ErrorCode::token_unplugged, fmt::format("the token has not answered for {} seconds", seconds),
          "unplug it and plug it in again, then run the same command: it resumes"};
}

ProvisioningStatement make_statement(const ProvisionJob& job, const Settings& settings,
                                     const DeviceToken& token, const KeyPair& pair, Time now) {
  pkcs11::KeyAttributes key = pkcs11::read_attributes(token.session(), pair);
  return {.order = job.order,
          .station = settings.name,
          .bay = job.bay,
          .token_manufacturer = token.info().manufacturer,
          .token_model = token.info().model,
          .token_serial = token.info().serial,
          .token_firmware = token.info().firmware,
          .key_local = key.is_local,
          .key_sensitive = key.is_sensitive,
          .key_always_sensitive = key.always_sensitive,
          .key_never_extractable = key.never_extractable,
          .mechanism = std::string(pkcs11::generation_mechanism_name(pair.public_key.algorithm())),
          .time = format_time(now)};
}

// Where a chain certificate goes on the token: under its own key's identifier, out of the way of the
// device's.
pkcs11::KeyName chain_name(const Certificate& certificate) {
  return {pkcs11::KeyId::parse(certificate.subject_key_identifier()), "fleetroot-issuing-ca"};
}

}  // namespace

Provisioning::Provisioning(const Home& home, const Settings& settings, ProvisionJob job,
                           Companions& companions, const Clock& clock, Reporter& reporter)
    : home_(home),
      settings_(settings),
      job_(std::move(job)),
      companions_(companions),
      trust_{.fleet_roots = home.fleet_roots(), .issuing = home.issuing_certificates()},
      clock_(clock),
      reporter_(reporter),
      policy_(pkcs11::KeyPolicy::preset(job_.preset, job_.algorithm)),
      journal_(home.file("journal.db")),
      watchdog_(settings.token_timeout_seconds, [this] {
        Error error = hung_token(settings_.token_timeout_seconds);
        reporter_.failed(error);
        print_error("fleetroot-station", error);
        _exit(exit_code(error.code()));
      }) {
  policy_.self_signed_placeholder = job_.placeholder;
  if (std::optional<std::filesystem::path> queue = media_queue_of(job_.ca))
    media_.emplace(*queue, journal_.media);
}

Provisioning::~Provisioning() = default;

template <typename Step>
auto Provisioning::step(int number, std::string_view name, const Step& body) {
  struct Watched {
    explicit Watched(Watchdog& watchdog) : watchdog_(watchdog) { watchdog_.arm(); }
    ~Watched() { watchdog_.disarm(); }
    Watchdog& watchdog_;
  };
  reporter_.step_begins(number, name);
  Watched watched(watchdog_);
  if constexpr (std::is_void_v<decltype(body())>) {
    body();
    reporter_.step_ends();
  } else {
    auto result = body();
    reporter_.step_ends();
    return result;
  }
}

Outcome Provisioning::run() {
  step(1, "identify", [&] { identify(); });
  {
    std::optional<FileDescriptor> turn = turn_with_other_bays();
    step(2, "open token", [&] { open_token(); });
  }
  Finding finding = step(3, "inspect", [&] { return inspect(); });
  if (finding == Finding::provisioned) return Outcome::already_provisioned;
  try {
    step(4, "plan", [&] { plan(); });
    step(5, "generate", [&] { generate(); });
    CertificateRequest certificate_request = step(6, "request", [&] { return request(); });
    if (!media_) {
      submit(certificate_request);
    } else if (!exchange(certificate_request)) {
      return Outcome::queued;
    }
  } catch (const Error& error) {
    if (is_final_refusal(error.code())) undo();
    throw;
  }
  record();
  return Outcome::provisioned;
}

// 1. The scan becomes a device ID, or nothing happens at all.
void Provisioning::identify() {
  device_id_ = DeviceId::parse(job_.scan);
  reporter_.set_device_id(device_id_->text());
}

// SoftHSM's processes log in one after the other. Whoever has the turn is watched while he has it, so waiting
// for it says nothing about the own token.
std::optional<FileDescriptor> Provisioning::turn_with_other_bays() const {
  if (!pkcs11::is_softhsm(job_.token.module_path.value_or(""))) return std::nullopt;
  return lock_file(home_.file("locks") / "softhsm");
}

// 2. The token by its URI, alone, logged in. A PIN that was wrong before is not tried until the token locks.
void Provisioning::open_token() {
  token_ = std::make_unique<DeviceToken>(job_.token, job_.module_args);
  token_->lock(home_.file("locks"));
  std::string identity = token_identity(token_->info());
  unsigned wrong_pins = journal_.wrong_pins(identity);
  if (wrong_pins + 1 >= token_->profile().pin_tries && !job_.retry_pin) {
    throw Error(
        ErrorCode::pin_locked,
        fmt::format("the PIN for the token {} was wrong {} times, and its last try is never spent here",
                    token_->info().describe(), wrong_pins),
        "correct the PIN source, log in once with the token vendor's tool, then add --retry-pin");
  }
  try {
    token_->open_session(job_.pin);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::pin_wrong) journal_.count_wrong_pin(identity);
    throw;
  }
  if (wrong_pins > 0) journal_.clear_wrong_pins(identity);
  for (const KeySpec& spec : policy_.specs)
    pkcs11::refuse_unless_supported(token_->session(), spec.algorithm);
}

// 3. What the journal knows against what lies on the token. Whether a device may have a new key on another
// token is the CA's to say.
Provisioning::Finding Provisioning::inspect() {
  std::string identity = token_identity(token_->info());
  std::optional<DeviceRecord> holder = journal_.device_on_token(identity);
  if (holder && (job_.rework || holder->state == DeviceState::replaced)) {
    // Nothing of it may be left: a rework needs a new key.
    refuse_foreign_objects(pkcs11::inventory(token_->session()),
                           fmt::format("is of device {} before its rework", holder->device_id));
    holder.reset();
  }
  if (holder && holder->device_id != device_id_->text()) {
    throw Error(
        ErrorCode::token_foreign_object,
        fmt::format("the token {} belongs to device {}, which is {}", token_->info().describe(),
                    holder->device_id,
                    holder->state == DeviceState::provisioned ? "provisioned" : "begun and not finished"),
        "scan the label of the device that this token is in");
  }
  if (holder) {
    record_ = *std::move(holder);
    refuse_another_policy();
    policy_ = pkcs11::KeyPolicy::preset(record_.preset, parse_key_algorithm(record_.algorithm));
    policy_.self_signed_placeholder = job_.placeholder;
    resumes_ = record_.state == DeviceState::planned;
    if (resumes_) return Finding::resumable;
    confirm_provisioned();
    return Finding::provisioned;
  }

  std::optional<DeviceRecord> known = journal_.device(*device_id_);
  std::vector<TokenObject> objects = pkcs11::inventory(token_->session());
  record_ = {.device_id = device_id_->text(),
             .token = identity,
             .order = job_.order.text(),
             .state = DeviceState::planned,
             .preset = job_.preset,
             .algorithm = std::string(name_of(job_.algorithm)),
             .inventory = {},
             .certificate = {},
             .chain = {}};
  for (const TokenObject& object : objects) record_.inventory.push_back(object.identity);
  if (is_provisioned_by_somebody(objects)) {
    record_.state = DeviceState::provisioned;
    record_.certificate =
        pkcs11::read_certificates(token_->session(), policy_.identity().certificate->id).front();
    refuse_older_identity(known);
    journal_.finish(record_, clock_.now());
    return Finding::provisioned;
  }
  refuse_foreign_objects(objects, "this station did not make");
  return Finding::fresh;
}

// A device keeps the policy that it was begun with; who asks for another must not hear that all is well.
void Provisioning::refuse_another_policy() const {
  bool fits = (!job_.wants_preset || record_.preset == job_.preset) &&
              (!job_.wants_algorithm || record_.algorithm == name_of(job_.algorithm));
  if (fits) return;
  throw Error(ErrorCode::usage,
              fmt::format("device {} was {} with the preset {} and a {} key", record_.device_id,
                          record_.state == DeviceState::provisioned ? "provisioned" : "begun", record_.preset,
                          record_.algorithm),
              "leave --preset and --algorithm out to go on with these; another policy needs an empty token");
}

// The journal is another station's, or lost: a token that passes every check for this device is done all the
// same.
bool Provisioning::is_provisioned_by_somebody(const std::vector<TokenObject>& objects) const {
  auto is_our_key = [&](const TokenObject& object) {
    return object.identity.object_class == ObjectClass::private_key &&
           object.identity.id_hex == policy_.identity().key.id.hex();
  };
  if (std::none_of(objects.begin(), objects.end(), is_our_key)) return false;
  std::vector<station::Finding> findings =
      verify_device(token_->session(), policy_.identity(), device_id_, trust_, clock_.now());
  return std::all_of(findings.begin(), findings.end(),
                     [](const station::Finding& finding) { return finding.passed; });
}

// Of two tokens that both pass for this device, the one with the older certificate was replaced.
void Provisioning::refuse_older_identity(const std::optional<DeviceRecord>& known) const {
  if (!known || known->state != DeviceState::provisioned) return;
  if (Certificate::from_der(known->certificate).not_before() <
      Certificate::from_der(record_.certificate).not_before()) {
    return;
  }
  throw Error(
      ErrorCode::device_has_certificate,
      fmt::format("device {} has its identity on another token ({})", device_id_->text(), known->token),
      "scan the label again; if this token was replaced, it is out of use: hold it");
}

void Provisioning::refuse_foreign_objects(const std::vector<TokenObject>& objects,
                                          std::string_view why) const {
  auto collides = [](const TokenObject& object, const pkcs11::KeyName& name) {
    return object.identity.id_hex == name.id.hex() || object.identity.label == name.label;
  };
  for (const TokenObject& object : objects) {
    for (const KeySpec& spec : policy_.specs) {
      if (!collides(object, spec.key) && !(spec.certificate && collides(object, *spec.certificate))) continue;
      throw Error(
          ErrorCode::token_foreign_object,
          fmt::format("the token {} already holds a {} with the ID \"{}\" and the label \"{}\" that {}",
                      token_->info().describe(), name_of(object.identity.object_class),
                      object.identity.id_hex, object.identity.label, why),
          "hold this device: nothing is ever overwritten; use an empty token, or another key policy "
          "(--preset)");
    }
  }
}

void Provisioning::confirm_provisioned() const {
  std::optional<KeyPair> pair = token_->usable_pair(policy_.identity());
  if (!pair) {
    throw Error(ErrorCode::token_untrusted,
                fmt::format("device {} was provisioned, but its key is no longer whole on the token",
                            device_id_->text()),
                "hold this device, and run verify to see what is wrong");
  }
  Certificate certificate = Certificate::from_der(record_.certificate);
  token_->refuse_unless_stored(certificate, *policy_.identity().certificate);
  if (!(certificate.public_key() == pair->public_key)) {
    throw Error(ErrorCode::token_untrusted,
                fmt::format("device {} has another key than it was provisioned with", device_id_->text()),
                "hold this device: its token was changed after it was provisioned");
  }
}

// 4. Durable before the token is touched: whatever is on it from now on and was not before is ours to finish
// or to sweep.
void Provisioning::plan() {
  companions_.refuse_unless_started();
  if (!resumes_) journal_.plan(record_, clock_.now());
}

// 5. The key pairs, in hardware: what a broken attempt left whole is kept, its wreckage is swept, the rest is
// made.
void Provisioning::generate() {
  std::vector<std::optional<KeyPair>> found;
  for (const KeySpec& spec : policy_.specs) {
    found.push_back(resumes_ ? token_->usable_pair(spec) : std::nullopt);
    if (found.back()) pairs_.push_back(*found.back());
  }
  if (resumes_) sweep();
  pairs_.clear();
  for (std::size_t i = 0; i < found.size(); ++i) {
    const KeySpec& spec = policy_.specs[i];
    if (found[i]) {
      pairs_.push_back(*std::move(found[i]));
      continue;
    }
    pairs_.push_back(pkcs11::generate_key_pair(token_->session(), spec.algorithm, spec.key));
    pkcs11::refuse_unless_sound(token_->session(), pairs_.back());
    pkcs11::prove_pair(token_->session(), pairs_.back());
  }
  if (policy_.self_signed_placeholder) {
    EvpPkeyPtr signer = pkcs11::make_signing_evp(token_->session(), identity_pair());
    token_->put_certificate(
        make_placeholder(*device_id_, identity_pair().public_key, signer.get(), clock_.now()),
        *policy_.identity().certificate);
  }
}

// Removes what came after the plan, except the pairs that are whole and certificates under our ID, which step
// 9 puts right.
void Provisioning::sweep() const {
  std::vector<TokenObject> ours =
      pkcs11::objects_not_in(pkcs11::inventory(token_->session()), record_.inventory);
  std::erase_if(ours, [&](const TokenObject& object) {
    bool is_key = object.identity.object_class == ObjectClass::private_key ||
                  object.identity.object_class == ObjectClass::public_key;
    bool is_certificate = object.identity.object_class == ObjectClass::certificate &&
                          object.identity.id_hex == policy_.identity().certificate->id.hex();
    return is_certificate || (is_key && std::any_of(pairs_.begin(), pairs_.end(), [&](const KeyPair& pair) {
                                return pair.name.id.hex() == object.identity.id_hex;
                              }));
  });
  token_->destroy(ours);
}

// 6. PKCS#10, signed in the token, verified in software, with the station's statement in it.
CertificateRequest Provisioning::request() {
  ProvisioningStatement statement = make_statement(job_, settings_, *token_, identity_pair(), clock_.now());
  EvpPkeyPtr signer = pkcs11::make_signing_evp(token_->session(), identity_pair());
  return CertificateRequest::create(device_id_->text(), identity_pair().public_key, signer.get(),
                                    statement.to_json());
}

// 7. To the CA and back. What comes back is checked (8) and written (9) before it is confirmed, so the CA
// hears of success only when the certificate sits in the hardware.
void Provisioning::submit(const CertificateRequest& certificate_request) {
  reporter_.step_begins(7, "submit");
  // What another way brings from now on, a medium's answer from before must not undo.
  if (journal_.media.request(*device_id_)) journal_.media.forget(*device_id_);
  companions_.ca().enroll(certificate_request, [&](const cmp::Enrolled& answer) {
    has_answer_ = true;
    reporter_.step_ends();
    step(8, "check", [&] { check(answer); });
    step(9, "write back", [&] { write_back(answer); });
    reporter_.step_begins(10, "confirm and record");
  });
}

// 7, where somebody carries requests and answers; 8 and 9 once the answer is here, and the confirmation as a
// receipt, before the journal says that the device is done, so that none is ever forgotten.
bool Provisioning::exchange(const CertificateRequest& certificate_request) {
  reporter_.step_begins(7, "submit");
  std::optional<cmp::Enrolled> answer = carried_answer(certificate_request);
  reporter_.step_ends();
  if (!answer) {
    companions_.finish();
    return false;
  }
  has_answer_ = true;
  auto leave_receipt = [&](bool accepted) {
    media_->leave_receipt(*device_id_, job_.order, answer->certificate.serial(), accepted);
  };
  try {
    step(8, "check", [&] { check(*answer); });
  } catch (const Error&) {
    leave_receipt(false);
    throw;
  }
  step(9, "write back", [&] { write_back(*answer); });
  reporter_.step_begins(10, "confirm and record");
  leave_receipt(true);
  return true;
}

std::optional<cmp::Enrolled> Provisioning::carried_answer(const CertificateRequest& certificate_request) {
  auto message = [&] {
    return cmp::request_message(companions_.caller().station, trust_.issuing.front(), certificate_request);
  };
  try {
    std::optional<Bytes> certificate =
        media_->ask(*device_id_, job_.order, identity_pair().public_key.fingerprint(), message, clock_.now());
    if (!certificate) return std::nullopt;
    return cmp::Enrolled{.certificate = Certificate::from_der(*certificate), .chain = {}};
  } catch (const Error& error) {
    // The device leaves as it came, as it would have if the refusal had come at once.
    if (says_that_key_has_no_certificate(error.code())) resumes_ = false;
    throw;
  }
}

// 8. Before it touches the token.
void Provisioning::check(const cmp::Enrolled& answer) {
  refuse_certificate_unless_right(answer.certificate, answer.chain, identity_pair().public_key, *device_id_,
                                  trust_, clock_.now());
}

// 9. Written, read back in a new session, and proven: the token signs, and the certificate's key verifies.
void Provisioning::write_back(const cmp::Enrolled& answer) {
  const pkcs11::KeyName& name = *policy_.identity().certificate;
  token_->put_certificate(answer.certificate, name);
  if (settings_.write_chain) {
    for (const Certificate& certificate : trust_.issuing)
      token_->put_certificate(certificate, chain_name(certificate));
  }
  token_->renew_session();
  token_->refuse_unless_stored(answer.certificate, name);
  if (settings_.write_chain) {
    for (const Certificate& certificate : trust_.issuing)
      token_->refuse_unless_stored(certificate, chain_name(certificate));
  }
  std::optional<KeyPair> pair = pkcs11::find_key_pair(token_->session(), policy_.identity().key.id);
  if (!pair || !(pair->public_key == answer.certificate.public_key())) {
    throw Error(ErrorCode::token_untrusted, "the token shows another key than the one that was certified",
                "hold this device and replace its token");
  }
  pkcs11::prove_pair(token_->session(), *pair);
  record_.certificate = answer.certificate.der();
  record_.chain = to_pem(trust_.issuing);
}

// 10. The CA has confirmed; now the journal says so for good.
void Provisioning::record() {
  companions_.finish();
  record_.state = DeviceState::provisioned;
  journal_.finish(record_, clock_.now());
  if (media_) journal_.media.forget(*device_id_);
  reporter_.step_ends();
}

// A refused device leaves as it came. Only for a key that this run made: one from an earlier run may be
// certified.
void Provisioning::undo() noexcept {
  if (resumes_ || has_answer_ || !token_) return;
  try {
    token_->renew_session();
    pairs_.clear();
    std::vector<TokenObject> ours =
        pkcs11::objects_not_in(pkcs11::inventory(token_->session()), record_.inventory);
    token_->destroy(ours);
    journal_.forget_plan(record_.token);
  } catch (const std::exception&) {
    // The plan is still in the journal, so the next run sweeps; the refusal is what the operator must hear
    // about.
  }
}

std::string Provisioning::summary() const {
  return fmt::format("certificate {} on token {}", Certificate::from_der(record_.certificate).serial().hex(),
                     token_->info().describe());
}

}  // namespace fleetroot::station
