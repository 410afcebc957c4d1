#include "pkcs11/signing_token.h"

#include <fmt/format.h>

#include <mutex>

#include "pkcs11/key_pair.h"
#include "pkcs11/objects.h"
#include "pkcs11/pin.h"
#include "pkcs11/softhsm.h"

namespace fleetroot::pkcs11 {
namespace {

Uri parse_uri(const TokenSettings& settings) {
  Uri uri = Uri::parse(settings.uri);
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
                  fmt::format("the token {} already holds a {} with the ID {} and the label \"{}\"",
                              session.token().describe(), name_of(object.identity.object_class),
                              object.identity.id_hex, object.identity.label),
                  "use an empty token; nothing is ever overwritten");
    }
  }
}

// SoftHSM reads its configuration's place from the environment when it is initialised, so this comes first.
std::optional<SoftHsmOpening> open_embedded(const TokenSettings& settings) {
  if (!settings.softhsm_directory) return std::nullopt;
  select_softhsm_directory(*settings.softhsm_directory);
  return SoftHsmOpening(*settings.softhsm_directory);
}

}  // namespace

// Destroyed from the bottom up: the session before the module.
struct SigningToken::State {
  explicit State(const TokenSettings& token_settings)
      : settings(token_settings),
        opening(open_embedded(settings)),
        uri(parse_uri(settings)),
        pin(read_pin({.fd = {},
                      .uri_source = uri.pin_source,
                      .base = settings.home,
                      .prompt = fmt::format("PIN for {}", uri.describe())})),
        module(*uri.module_path, settings.init_args),
        session(module, module.find_token(uri)) {
    session.log_in(pin);
    opening.reset();
  }

  KeyPair find(const KeyId& id) {
    std::lock_guard lock(mutex);
    std::optional<KeyPair> pair = find_key_pair(session, id);
    if (pair) return *std::move(pair);
    throw Error(ErrorCode::configuration,
                fmt::format("the token {} holds no key with the ID {}", session.token().describe(), id.hex()),
                "check the token URI and the key ID in the configuration");
  }

  TokenSettings settings;
  std::optional<SoftHsmOpening> opening;
  Uri uri;
  Pin pin;
  Module module;
  Session session;
  std::mutex mutex;
};

class SigningToken::TurnTakingSigner : public Signer {
 public:
  TurnTakingSigner(State& state, KeyPair pair) : state_(state), pair_(std::move(pair)) {}
  Bytes sign(const SignatureInput& input) override {
    std::lock_guard lock(state_.mutex);
    return pkcs11::sign(state_.session, pair_, input);
  }

 private:
  State& state_;
  KeyPair pair_;
};

SigningToken::SigningToken(const TokenSettings& settings) : state_(std::make_unique<State>(settings)) {}
SigningToken::SigningToken(SigningToken&&) noexcept = default;
SigningToken& SigningToken::operator=(SigningToken&&) noexcept = default;
SigningToken::~SigningToken() = default;

PublicKey SigningToken::generate(KeyAlgorithm algorithm, const KeyName& name) {
  std::lock_guard lock(state_->mutex);
  refuse_unless_supported(state_->session, algorithm);
  refuse_occupied(state_->session, name);
  KeyPair pair = generate_key_pair(state_->session, algorithm, name);
  refuse_unless_sound(state_->session, pair);
  prove_pair(state_->session, pair);
  if (state_->settings.softhsm_directory) sync_softhsm_directory(*state_->settings.softhsm_directory);
  return pair.public_key;
}

TokenKey SigningToken::key(const KeyId& id) const {
  KeyPair pair = state_->find(id);
  PublicKey public_key = pair.public_key;
  return {std::move(public_key), std::make_shared<TurnTakingSigner>(*state_, std::move(pair))};
}

}  // namespace fleetroot::pkcs11
