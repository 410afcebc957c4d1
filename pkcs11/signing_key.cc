#include "pkcs11/signing_key.h"

#include <fmt/format.h>

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

// Destroyed from the bottom up: the EVP_PKEY before the session, the session before the module.
struct SigningKey::State {
  explicit State(const TokenSettings& settings)
      : opening(open_embedded(settings)),
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

  std::optional<SoftHsmOpening> opening;
  Uri uri;
  Pin pin;
  Module module;
  Session session;
  std::optional<KeyPair> pair;
  EvpPkeyPtr evp;
};

SigningKey::SigningKey(std::unique_ptr<State> state) : state_(std::move(state)) {}
SigningKey::SigningKey(SigningKey&&) noexcept = default;
SigningKey& SigningKey::operator=(SigningKey&&) noexcept = default;
SigningKey::~SigningKey() = default;

SigningKey SigningKey::generate(const TokenSettings& settings, KeyAlgorithm algorithm, const KeyName& name) {
  auto state = std::make_unique<State>(settings);
  refuse_unless_supported(state->session, algorithm);
  refuse_occupied(state->session, name);
  state->pair = generate_key_pair(state->session, algorithm, name);
  refuse_unless_sound(state->session, *state->pair);
  prove_pair(state->session, *state->pair);
  if (settings.softhsm_directory) sync_softhsm_directory(*settings.softhsm_directory);
  return SigningKey(std::move(state));
}

SigningKey SigningKey::open(const TokenSettings& settings, const KeyId& id) {
  auto state = std::make_unique<State>(settings);
  state->pair = find_key_pair(state->session, id);
  if (!state->pair) {
    throw Error(
        ErrorCode::configuration,
        fmt::format("the token {} holds no key with the ID {}", state->session.token().describe(), id.hex()),
        "check the token URI and the key ID in the configuration");
  }
  return SigningKey(std::move(state));
}

const PublicKey& SigningKey::public_key() const {
  return state_->pair->public_key;
}

EVP_PKEY* SigningKey::evp() const {
  if (!state_->evp) state_->evp = make_signing_evp(state_->session, *state_->pair);
  return state_->evp.get();
}

Bytes SigningKey::sign(const SignatureInput& input) const {
  return pkcs11::sign(state_->session, *state_->pair, input);
}

}  // namespace fleetroot::pkcs11
