#include "pkcs11/signing_token.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "pkcs11/attributes.h"
#include "pkcs11/cryptoki.h"
#include "pkcs11/hang_watch.h"
#include "pkcs11/key_pair.h"
#include "pkcs11/objects.h"
#include "pkcs11/pin.h"
#include "pkcs11/softhsm.h"

namespace fleetroot::pkcs11 {
namespace {

Uri parse_uri(const std::string& text) {
  Uri uri = Uri::parse(text);
  if (!uri.module_path) {
    throw Error(ErrorCode::configuration, fmt::format("the token URI names no module: {}", uri.describe()),
                "add ?module-path=/path/to/module.so to it");
  }
  return uri;
}

void refuse_occupied(const Session& session, const KeyName& name) {
  for (const TokenObject& object : inventory(session)) {
    if (object.identity.id_hex == name.id.hex() || object.identity.label == name.label) {
      throw Error(ErrorCode::token_foreign_object,
                  fmt::format("the token {} already holds an object ({}) with the ID {} and the label \"{}\"",
                              session.token().describe(), name_of(object.identity.object_class),
                              object.identity.id_hex, object.identity.label),
                  "use an empty token; nothing is ever overwritten");
    }
  }
}

void destroy_pair(const Session& session, const KeyName& name) {
  for (CK_OBJECT_CLASS object_class : {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY}) {
    Template wanted;
    wanted.add_number(CKA_CLASS, object_class).add(CKA_ID, name.id.bytes()).add(CKA_LABEL, name.label);
    for (ObjectHandle object : session.find(wanted)) session.destroy(object);
  }
}

// SoftHSM reads its configuration's place from the environment when it is initialised, so this comes first.
std::optional<SoftHsmOpening> open_embedded(const TokenSettings& settings) {
  if (!settings.softhsm_directory) return std::nullopt;
  if (!std::filesystem::is_directory(*settings.softhsm_directory)) {
    throw Error(
        ErrorCode::configuration,
        fmt::format("the embedded token is gone: there is no {}", settings.softhsm_directory->string()),
        "restore the directory from the back-up, then run the same command again");
  }
  select_softhsm_directory(*settings.softhsm_directory);
  return SoftHsmOpening(*settings.softhsm_directory);
}

bool is_file_below_home(std::string_view pin_source) {
  if (pin_source.starts_with("env:") || pin_source.starts_with("credential:")) return false;
  if (pin_source.starts_with("file:")) pin_source.remove_prefix(5);
  std::filesystem::path path = std::filesystem::path(pin_source).lexically_normal();
  return !path.empty() && path.is_relative() && *path.begin() != "..";
}

}  // namespace

void refuse_unless_possible(const std::string& uri, const std::filesystem::path& softhsm_directory) {
  if (uri.empty()) return refuse_unless_softhsm_fits(softhsm_directory);
  std::string source = parse_uri(uri).pin_source.value_or("");
  if (!is_file_below_home(source)) return;
  throw Error(ErrorCode::usage,
              fmt::format("the PIN file {} would be in the home, which is yet to be made", source),
              "name the file by its absolute path: a relative one counts from the home");
}

// Destroyed from the bottom up: the sessions before the module.
struct SigningToken::State {
  explicit State(const TokenSettings& token_settings)
      : settings(token_settings),
        opening(open_embedded(settings)),
        uri(parse_uri(settings.uri)),
        wrong_pin(settings.home, uri.pin_source),
        pin(read_pin({.fd = {},
                      .uri_source = uri.pin_source,
                      .base = settings.home,
                      .prompt = fmt::format("PIN for {}", uri.describe())})),
        module(*uri.module_path, {.init_args = settings.init_args}) {
    sessions.push_back(std::make_unique<Session>(module, module.find_token(uri)));
    log_in(*sessions.front());
    pin.reset();  // further sessions share the login
    idle.push_back(sessions.front().get());
    opening.reset();
  }

  void log_in(Session& session) {
    std::optional<FileDescriptor> turn = wrong_pin.turn();
    wrong_pin.refuse_if_unchanged();
    // SoftHSM locks no token, and who is killed there again and again needs nobody's word.
    if (!is_softhsm(*uri.module_path)) wrong_pin.begin_try(module.profile().pin_tries);
    try {
      session.log_in(*pin);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::pin_wrong) wrong_pin.remember();
      if (error.code() == ErrorCode::pin_locked) wrong_pin.take_back();
      throw;  // after any other answer the token may have judged the PIN: the try stays noted
    }
    wrong_pin.forget();
  }

  // A session that nobody else uses: an idle one, or one more, which the login of the first holds for too
  // (PKCS#11 2.40 section 5.6); or, from a token that gives no more, the next that is given back.
  Session* take() {
    std::unique_lock lock(mutex);
    if (idle.empty() && gives_more) open_another();
    given_back.wait(lock, [this] { return !idle.empty(); });
    Session* session = idle.back();
    idle.pop_back();
    return session;
  }
  void give_back(Session* session) {
    std::lock_guard lock(mutex);
    idle.push_back(session);
    given_back.notify_one();
  }
  // An operation that failed may stay open, and lets no other begin in its session. The new one first: a
  // token's login ends with its last session.
  void replace(Session*& session) {
    std::lock_guard lock(mutex);
    auto broken = std::ranges::find(sessions, session, &std::unique_ptr<Session>::get);
    try {
      *broken = std::make_unique<Session>(module, session->token());
      session = broken->get();
    } catch (const Error&) {
      // The token has gone, or gives no more: what has to be heard is why it did not sign.
    }
  }
  void open_another() {
    HangWatch::Call call(hang_watch);
    try {
      sessions.push_back(std::make_unique<Session>(module, sessions.front()->token()));
      idle.push_back(sessions.back().get());
    } catch (const Error&) {
      gives_more = false;
    }
  }

  TokenSettings settings;
  std::optional<SoftHsmOpening> opening;
  Uri uri;
  WrongPin wrong_pin;  // before the PIN is read: a file that is corrected meanwhile is another one
  std::optional<Pin> pin;
  Module module;
  std::mutex mutex;  // guards what follows
  std::condition_variable given_back;
  bool gives_more = true;
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<Session*> idle;
  HangWatch hang_watch;
};

// One of the sessions, for as long as it lives.
class SigningToken::Turn {
 public:
  explicit Turn(State& state) : state_(state), session_(state.take()) {}
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() { state_.give_back(session_); }
  const Session& session() const { return *session_; }
  // After a call that failed in it.
  void replace_session() { state_.replace(session_); }

 private:
  State& state_;
  Session* session_;
};

class SigningToken::TurnTakingSigner : public Signer {
 public:
  TurnTakingSigner(State& state, KeyPair pair) : state_(state), pair_(std::move(pair)) {}
  Bytes sign(const SignatureInput& input) override {
    Turn turn(state_);
    HangWatch::Call call(state_.hang_watch);
    try {
      return pkcs11::sign(turn.session(), pair_, input);
    } catch (const Error& error) {
      turn.replace_session();
      if (state_.settings.when_signing_fails) state_.settings.when_signing_fails(error);
      throw;
    }
  }

 private:
  State& state_;
  KeyPair pair_;
};

SigningToken::SigningToken(const TokenSettings& settings) : state_(std::make_unique<State>(settings)) {}
SigningToken::SigningToken(SigningToken&&) noexcept = default;
SigningToken& SigningToken::operator=(SigningToken&&) noexcept = default;
SigningToken::~SigningToken() = default;

TokenKey SigningToken::generate(KeyAlgorithm algorithm, const KeyName& name) {
  Turn turn(*state_);
  const Session& session = turn.session();
  refuse_unless_supported(session, algorithm);
  refuse_occupied(session, name);
  try {
    KeyPair pair = generate_key_pair(session, algorithm, name);
    refuse_unless_sound(session, pair);
    prove_pair(session, pair);
    if (state_->settings.softhsm_directory) sync_softhsm_directory(*state_->settings.softhsm_directory);
    return make_key(std::move(pair));
  } catch (const std::exception&) {
    // Is what has to be heard, whether or not the pair can be removed.
    try {
      turn.replace_session();
      destroy_pair(turn.session(), name);
    } catch (const std::exception&) {
    }
    throw;
  }
}

void SigningToken::destroy(const KeyName& name) {
  Turn turn(*state_);
  destroy_pair(turn.session(), name);
}

TokenKey SigningToken::key(const KeyId& id) const {
  Turn turn(*state_);
  const Session& session = turn.session();
  std::optional<KeyPair> pair = find_key_pair(session, id);
  if (!pair) {
    throw Error(ErrorCode::configuration,
                fmt::format("the token {} holds no key with the ID {}", session.token().describe(), id.hex()),
                "check the token URI and the key ID in the configuration");
  }
  if (read_flag(session, pair->private_key, CKA_ALWAYS_AUTHENTICATE).value_or(false)) {
    throw Error(ErrorCode::configuration,
                fmt::format("the key {} of the token {} wants the PIN for each signature", id.hex(),
                            session.token().describe()),
                "use one without CKA_ALWAYS_AUTHENTICATE: the PIN is given once");
  }
  return make_key(*std::move(pair));
}

void SigningToken::watch(SigningFailure when_it_hangs, std::chrono::seconds limit) {
  state_->hang_watch.start(limit, [tell = std::move(when_it_hangs), limit] {
    tell(Error(ErrorCode::token_unplugged,
               fmt::format("the token has not answered for {} seconds", limit.count()),
               "check the token and its module; this program is to be started again"));
  });
}

TokenKey SigningToken::make_key(KeyPair pair) const {
  PublicKey public_key = pair.public_key;
  return {std::move(public_key), std::make_shared<TurnTakingSigner>(*state_, std::move(pair))};
}

}  // namespace fleetroot::pkcs11
