#include "tool/provision.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <future>
#include <thread>

#include "lib/base/files.h"
#include "lib/x509/certificate_request.h"
#include "lib/x509/provisioning_statement.h"
#include "pkcs11/softhsm.h"
#include "tool/own_objects.h"
#include "tool/placeholder.h"

namespace fleetroot::station {

using pkcs11::KeyPair;
using pkcs11::KeySpec;
using pkcs11::ObjectClass;
using pkcs11::TokenObject;

namespace {

// The CA, or the token, said no to this key before any certificate existed for it.
bool is_final_refusal(ErrorCode code) {
  static constexpr std::array kRefusals{ErrorCode::bad_request,     ErrorCode::not_on_order,
                                        ErrorCode::order_unknown,   ErrorCode::order_full,
                                        ErrorCode::order_closed,    ErrorCode::algorithm_not_allowed,
                                        ErrorCode::key_reused,      ErrorCode::device_has_certificate,
                                        ErrorCode::device_revoked,  ErrorCode::device_scrapped,
                                        ErrorCode::refused_by_ca,   ErrorCode::not_authorised,
                                        ErrorCode::token_untrusted, ErrorCode::token_failed};
  return std::find(kRefusals.begin(), kRefusals.end(), code) != kRefusals.end();
}

// The CA looks for the key's own certificate before anything else; what a scrapped device had is revoked.
// Not a word on what has not reached it yet: that may be for another order, or come when the order is
// another.
bool says_that_key_has_no_certificate(ErrorCode code) {
  static constexpr std::array kCodes{
      ErrorCode::not_on_order,   ErrorCode::order_unknown,         ErrorCode::order_full,
      ErrorCode::order_closed,   ErrorCode::algorithm_not_allowed, ErrorCode::device_has_certificate,
      ErrorCode::device_scrapped};
  return std::find(kCodes.begin(), kCodes.end(), code) != kCodes.end();
}

// A refusal of one request for a key while another is on its way. `way_out` ends in the order of that one.
Error refusal_beside(const Error& refusal, const std::string& way_out) {
  return {
      refusal.code(),
      refusal.message() + "; its key stays on the token, because another request for it may be on its way",
      way_out + ": that finishes the device, or frees its token", refusal.cause()};
}

Error hung_token(int seconds) {
  return {ErrorCode::token_unplugged, fmt::format("the token has not answered for {} seconds", seconds),
          "unplug it and plug it in again, then run the same command: it resumes"};
}

Error no_turn(int seconds) {
  return {
      ErrorCode::busy,
      fmt::format("another provision of this home has kept the turn with SoftHSM for {} seconds", seconds),
      "wait until it has finished; if it is stopped (Ctrl-Z), continue or end it; then run the same "
      "command again"};
}

ProvisioningStatement make_statement(const ProvisionJob& job, const Settings& settings,
                                     const DeviceToken& token, const KeyPair& pair, Time now) {
  pkcs11::KeyAttributes key = pkcs11::read_attributes(token.session(), pair);
  return {.order = job.order,
          .station = settings.name,
          .bay = job.bay.text(),
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

// What is to be said of the device is certain by now, and must be said where the module hangs even as it is
// closed: what has not gone then is left to the end of the process. The thread never ends by itself, because
// what a module wants to run at a thread's end is unloaded with it.
void let_go(std::unique_ptr<DeviceToken> token, int seconds) {
  if (!token) return;
  auto gone = std::make_shared<std::promise<void>>();
  std::future<void> is_gone = gone->get_future();
  std::thread([gone, token = std::move(token)]() mutable {
    token.reset();
    gone->set_value();
    for (;;) pause();
  }).detach();
  is_gone.wait_for(std::chrono::seconds(seconds));
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
      watchdog_(settings.token_timeout_seconds, [this](const Error& error) { reporter_.failed(error); }) {
  if (std::optional<std::filesystem::path> queue = media_queue_of(job_.ca))
    media_.emplace(*queue, journal_.media, job_.order, [this] { return companions_.caller(); });
}

Provisioning::~Provisioning() {
  let_go(std::move(token_), settings_.token_timeout_seconds);
}

template <typename Step>
auto Provisioning::step(int number, std::string_view name, const Step& body) {
  reporter_.step_begins(number, name);
  Watched watched(watchdog_, hung_token(settings_.token_timeout_seconds));
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
  TokenState state = step(3, "inspect", [&] { return inspect(); });
  if (state == TokenState::provisioned) return Outcome::already_provisioned;
  try {
    step(4, "plan", [&] { plan(); });
    step(5, "generate", [&] { generate(); });
    CertificateRequest certificate_request = step(6, "request", [&] { return request(); });
    if (!submit(certificate_request)) return Outcome::queued;
  } catch (const Error& error) {
    // Of a request that was sent again, the CA may have certified what it refuses now.
    if (companions_.have_ca() && companions_.ca().has_lost_an_answer()) may_be_certified_ = true;
    // Also the word on what an earlier run asked: the device leaves as it came, as it would have at once.
    if (says_that_key_has_no_certificate(error.code())) {
      if (std::optional<std::string> way_out = way_out_of_others(error.code()))
        throw refusal_beside(error, *way_out);
      may_be_certified_ = false;
    }
    if (is_final_refusal(error.code())) undo(error);
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

// What goes onto the token beside the device's own certificate. Of several for one key, which would have one
// place there, the one that is valid for longest.
std::vector<Certificate> Provisioning::written_chain() const {
  std::vector<Certificate> chain;
  if (!settings_.write_chain) return chain;
  for (const Certificate& certificate : trust_.issuing) {
    auto present =
        std::ranges::find(chain, certificate.subject_key_identifier(), &Certificate::subject_key_identifier);
    if (present == chain.end()) {
      chain.push_back(certificate);
    } else if (present->not_after() < certificate.not_after()) {
      *present = certificate;
    }
  }
  return chain;
}

// SoftHSM's processes log in one after the other. Whoever has the turn is watched while he has it, unless he
// is stopped; waiting for it says nothing about the own token.
std::optional<FileDescriptor> Provisioning::turn_with_other_bays() {
  if (!pkcs11::is_softhsm(job_.token.module_path.value_or(""))) return std::nullopt;
  Watched watched(watchdog_, no_turn(settings_.token_timeout_seconds));
  return lock_file(home_.file("locks") / "softhsm");
}

// 2. The token by its URI, alone, logged in.
void Provisioning::open_token() {
  token_ = std::make_unique<DeviceToken>(job_.token, job_.module, device_id_);
  token_->lock(home_.file("locks"));
  token_->open_session(job_.pin, journal_, job_.retry_pin);
}

// 3. What the journal knows against what lies on the token. What was begun is finished by the policy that it
// was begun with.
TokenState Provisioning::inspect() {
  Inspected device =
      Inspection(job_, *device_id_, trust_, written_chain(), *token_, journal_, clock_.now()).run();
  record_ = std::move(device.record);
  policy_ = std::move(device.policy);
  resumes_ = device.state == TokenState::resumable;
  may_be_certified_ = resumes_;
  return device.state;
}

// 4. Durable before the token is touched: what is on it from now on under a name of ours, and was not before,
// is ours to finish or to sweep.
void Provisioning::plan() {
  for (const KeySpec& spec : policy_.specs)
    pkcs11::refuse_unless_supported(token_->session(), spec.algorithm);
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
  refuse_if_requested_key_is_broken(found.front());
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
  if (job_.placeholder) put_placeholder();
}

// Until the real certificate is there; which it may be, unconfirmed.
void Provisioning::put_placeholder() {
  const pkcs11::KeyName& name = *policy_.identity().certificate;
  const PublicKey& key = identity_pair().public_key;
  if (token_->holds_certificate_for(key, name)) return;
  EvpPkeyPtr signer = pkcs11::make_signing_evp(token_->session(), identity_pair());
  token_->put_certificate(make_placeholder(*device_id_, key, signer.get(), clock_.now()), name);
}

// A key was whole before the CA was asked to certify it: what is broken of it now, no attempt has left so.
// Where it is gone, another takes its place, and what a kill leaves of that one is wreckage again.
void Provisioning::refuse_if_requested_key_is_broken(const std::optional<KeyPair>& found) {
  if (record_.requested_key.empty()) return;
  if (found && found->public_key.fingerprint() == record_.requested_key) return;
  if (pkcs11::has_private_key(token_->session(), policy_.identity().key.id)) {
    throw Error(
        ErrorCode::token_untrusted,
        fmt::format("the key that a certificate was asked for is not whole and alone any more on the "
                    "token {}",
                    token_->info().describe()),
        "hold this device: nothing is swept that may be certified; take away what inspect shows under "
        "its ID and was not made here, or empty the token");
  }
  forget_requested_key();
}

void Provisioning::forget_requested_key() {
  record_.requested_key.clear();
  record_.unanswered.clear();
  journal_.request(record_);
}

std::vector<TokenObject> Provisioning::left_by_attempt() const {
  return station::left_by_attempt(pkcs11::inventory(token_->session()), record_.inventory, policy_,
                                  written_chain());
}

// Removes what a broken attempt left, except the pairs that are whole and certificates under our ID, which
// step 9 puts right.
void Provisioning::sweep() const {
  std::vector<TokenObject> ours = left_by_attempt();
  std::erase_if(ours, [&](const TokenObject& object) {
    bool is_certificate = object.identity.object_class == ObjectClass::certificate &&
                          object.identity.id_hex == policy_.identity().certificate->id.hex();
    return is_certificate || std::any_of(pairs_.begin(), pairs_.end(), [&](const KeyPair& pair) {
             return object.handle == pair.private_key || object.handle == pair.public_key_object;
           });
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
// hears of success only when the certificate sits in the hardware. False: the request waits for somebody who
// carries it.
bool Provisioning::submit(const CertificateRequest& certificate_request) {
  auto accept = [&](const cmp::Enrolled& answer) {
    may_be_certified_ = true;
    reporter_.step_ends();
    step(8, "check", [&] { check(answer); });
    step(9, "write back", [&] { write_back(answer); });
    reporter_.step_begins(10, "confirm and record");
  };
  reporter_.step_begins(7, "submit");
  // From here on it may be certified, whoever dies when.
  record_.requested_key = identity_pair().public_key.fingerprint();
  if (media_) return submit_by_media(certificate_request, accept);
  submit_at_once(certificate_request, accept);
  return true;
}

void Provisioning::submit_at_once(const CertificateRequest& certificate_request, const cmp::Accept& accept) {
  std::set<std::string> unanswered = record_.unanswered;
  record_.unanswered.insert(job_.order.text());
  journal_.request(record_);
  try {
    companions_.ca().enroll(certificate_request, accept);
  } catch (const Error& error) {
    if (!companions_.ca().has_sent()) record_.unanswered = std::move(unanswered);
    if (says_that_key_has_no_certificate(error.code())) record_.unanswered.erase(job_.order.text());
    journal_.request(record_);
    throw;
  }
}

// Which command can tell what becomes of other requests for this key, if there are any that may be on their
// way. For a scrapped device none is ever certified.
std::optional<std::string> Provisioning::way_out_of_others(ErrorCode refusal) {
  if (refusal == ErrorCode::device_scrapped) return std::nullopt;
  std::optional<QueuedRequest> carried = journal_.media.request(*device_id_);
  if (carried && !carried->refusal && carried->public_key == record_.requested_key) {
    return fmt::format("once the answer is imported, run the same command with --ca media:DIR for order {}",
                       carried->order.text());
  }
  if (record_.unanswered.empty()) return std::nullopt;
  return fmt::format("run the same command, with the --ca of then, for order {}",
                     *record_.unanswered.begin());
}

bool Provisioning::submit_by_media(const CertificateRequest& certificate_request, const cmp::Accept& accept) {
  journal_.request(record_);
  if (media_->enroll(certificate_request, accept, clock_.now())) return true;
  reporter_.step_ends();
  companions_.finish();
  return false;
}

// 8. Before it touches the token.
void Provisioning::check(const cmp::Enrolled& answer) {
  refuse_certificate_unless_right(answer.certificate, answer.chain, identity_pair().public_key, *device_id_,
                                  trust_, clock_.now());
}

// 9. Written, read back in a new session, and proven: the token signs with each key, and what verifies is the
// certificate's key, which step 8 has compared.
void Provisioning::write_back(const cmp::Enrolled& answer) {
  const pkcs11::KeyName& name = *policy_.identity().certificate;
  token_->put_certificate(answer.certificate, name);
  for (const Certificate& certificate : written_chain())
    token_->put_certificate(certificate, chain_name(certificate));
  token_->renew_session(job_.pin, journal_, job_.retry_pin);
  token_->refuse_unless_stored(answer.certificate, name);
  for (const Certificate& certificate : written_chain())
    token_->refuse_unless_stored(certificate, chain_name(certificate));
  for (const KeyPair& made : pairs_) {
    std::optional<KeyPair> pair = pkcs11::find_key_pair(token_->session(), made.name.id);
    if (!pair || !(pair->public_key == made.public_key)) {
      throw Error(ErrorCode::token_untrusted,
                  fmt::format("the token shows another key with the ID {} than the one that was made",
                              made.name.id.hex()),
                  "hold this device and replace its token");
    }
    pkcs11::prove_pair(token_->session(), *pair);
  }
  record_.certificate = answer.certificate.der();
  record_.chain = written_chain();
}

// 10. The CA has confirmed; now the journal says so for good.
void Provisioning::record() {
  companions_.finish();
  record_.state = DeviceState::provisioned;
  record_.unanswered.clear();
  journal_.finish(record_, clock_.now());
  if (media_) {
    journal_.media.forget(*device_id_);
  } else {
    journal_.media.answer_otherwise(*device_id_, record_.certificate);
  }
  reporter_.step_ends();
}

// A refused device leaves as it came, unless its key may be certified: then a later run needs it.
void Provisioning::undo(const Error& refusal) noexcept {
  if (may_be_certified_ || !token_) return;
  try {
    Watched watched(watchdog_, refusal);
    token_->renew_session(job_.pin, journal_, job_.retry_pin);
    pairs_.clear();
    forget_requested_key();  // a kill from here on leaves wreckage
    token_->destroy(left_by_attempt());
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
