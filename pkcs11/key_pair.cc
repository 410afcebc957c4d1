#include "pkcs11/key_pair.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "pkcs11/attributes.h"
#include "pkcs11/cryptoki.h"

namespace fleetroot::pkcs11 {
namespace {

struct Kind {
  KeyAlgorithm algorithm;
  CK_KEY_TYPE key_type;
  CK_MECHANISM_TYPE mechanism;
  std::string_view mechanism_name;
  // DER of the curve's object identifier, or empty for RSA.
  std::string_view curve_hex;
  CK_ULONG modulus_bits;
};

constexpr std::array kKinds{
    Kind{KeyAlgorithm::p256, CKK_EC, CKM_EC_KEY_PAIR_GEN, "CKM_EC_KEY_PAIR_GEN", "06082a8648ce3d030107", 0},
    Kind{KeyAlgorithm::p384, CKK_EC, CKM_EC_KEY_PAIR_GEN, "CKM_EC_KEY_PAIR_GEN", "06052b81040022", 0},
    Kind{KeyAlgorithm::rsa2048, CKK_RSA, CKM_RSA_PKCS_KEY_PAIR_GEN, "CKM_RSA_PKCS_KEY_PAIR_GEN", "", 2048},
    Kind{KeyAlgorithm::rsa3072, CKK_RSA, CKM_RSA_PKCS_KEY_PAIR_GEN, "CKM_RSA_PKCS_KEY_PAIR_GEN", "", 3072},
    Kind{KeyAlgorithm::ed25519, CKK_EC_EDWARDS, CKM_EC_EDWARDS_KEY_PAIR_GEN, "CKM_EC_EDWARDS_KEY_PAIR_GEN",
         "06032b6570", 0},
};

const Kind& kind_of(KeyAlgorithm algorithm) {
  for (const Kind& kind : kKinds) {
    if (kind.algorithm == algorithm) return kind;
  }
  std::terminate();
}

[[noreturn]] void distrust(std::string message, std::string hint = "hold this device and replace its token") {
  throw Error(ErrorCode::token_untrusted, std::move(message), std::move(hint));
}

Template public_template(const Kind& kind, const KeyName& name, const ModuleProfile& profile) {
  Template object;
  object.add(CKA_TOKEN, true)
      .add(CKA_PRIVATE, false)
      .add(CKA_VERIFY, true)
      .add(CKA_WRAP, false)
      .add(CKA_ID, name.id.bytes())
      .add(CKA_LABEL, name.label);
  if (profile.accepts_decrypt_false) object.add(CKA_ENCRYPT, false);
  if (kind.key_type == CKK_RSA) {
    static constexpr std::uint8_t kF4[] = {1, 0, 1};
    object.add_number(CKA_MODULUS_BITS, kind.modulus_bits).add(CKA_PUBLIC_EXPONENT, BytesView(kF4));
  } else {
    object.add(CKA_EC_PARAMS, *from_hex(kind.curve_hex));
  }
  return object;
}

// CKA_ALWAYS_SENSITIVE and CKA_NEVER_EXTRACTABLE are the token's to say, never ours to ask for.
Template private_template(const Kind& kind, const KeyName& name, const ModuleProfile& profile) {
  Template object;
  object.add(CKA_TOKEN, true)
      .add(CKA_PRIVATE, true)
      .add(CKA_SENSITIVE, true)
      .add(CKA_EXTRACTABLE, false)
      .add(CKA_SIGN, true)
      .add(CKA_UNWRAP, false)
      .add(CKA_ID, name.id.bytes())
      .add(CKA_LABEL, name.label);
  if (profile.accepts_decrypt_false) object.add(CKA_DECRYPT, false);
  if (kind.key_type != CKK_RSA) object.add(CKA_DERIVE, false);
  return object;
}

// CKA_EC_POINT is an OCTET STRING around the point by the standard, and the bare point on some tokens.
Bytes unwrap_point(const Bytes& value, std::size_t point_size) {
  if (value.size() == point_size) return value;
  std::size_t header = value.size() - std::min(value.size(), point_size);
  bool is_octet_string = (header == 2 && value[0] == 0x04 && value[1] == point_size) ||
                         (header == 3 && value[0] == 0x04 && value[1] == 0x81 && value[2] == point_size);
  if (!is_octet_string) distrust("the token shows a public key that cannot be read");
  return {value.begin() + static_cast<std::ptrdiff_t>(header), value.end()};
}

PublicKey read_public_key(const Session& session, ObjectHandle object) {
  CK_ULONG type = read_number(session, object, CKA_KEY_TYPE).value_or(kUnavailable);
  if (type == CKK_RSA) {
    return PublicKey::from_rsa(read_attribute(session, object, CKA_MODULUS).value_or(Bytes{}),
                               read_attribute(session, object, CKA_PUBLIC_EXPONENT).value_or(Bytes{}));
  }
  Bytes point = read_attribute(session, object, CKA_EC_POINT).value_or(Bytes{});
  if (type == CKK_EC_EDWARDS) return PublicKey::from_ed25519(unwrap_point(point, 32));
  std::string curve = to_hex(read_attribute(session, object, CKA_EC_PARAMS).value_or(Bytes{}));
  if (curve == kind_of(KeyAlgorithm::p256).curve_hex) {
    return PublicKey::from_ec_point(KeyAlgorithm::p256, unwrap_point(point, 65));
  }
  if (curve == kind_of(KeyAlgorithm::p384).curve_hex) {
    return PublicKey::from_ec_point(KeyAlgorithm::p384, unwrap_point(point, 97));
  }
  distrust("the token shows a public key of a kind that is not ours");
}

PublicKey read_public_key_or_distrust(const Session& session, ObjectHandle object) {
  try {
    return read_public_key(session, object);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_request) throw;
    distrust("the token shows a public key that is not valid: " + error.message());
  }
}

std::vector<ObjectHandle> find_keys(const Session& session, CK_OBJECT_CLASS object_class, const KeyId& id) {
  Template wanted;
  wanted.add_number(CKA_CLASS, object_class).add(CKA_TOKEN, true).add(CKA_ID, id.bytes());
  return session.find(wanted);
}

}  // namespace

std::string_view generation_mechanism_name(KeyAlgorithm algorithm) {
  return kind_of(algorithm).mechanism_name;
}

void refuse_unless_supported(const Session& session, KeyAlgorithm algorithm) {
  CK_MECHANISM_INFO info{};
  CK_RV rv = session.module().functions().C_GetMechanismInfo(session.token().slot_id,
                                                             kind_of(algorithm).mechanism, &info);
  if (rv == CKR_MECHANISM_INVALID || (rv == CKR_OK && (info.flags & CKF_GENERATE_KEY_PAIR) == 0)) {
    distrust(
        fmt::format("the token {} cannot generate {} keys", session.token().describe(), name_of(algorithm)),
        "choose another --algorithm, or use another token");
  }
  check(rv, "describe its mechanisms");
}

KeyPair generate_key_pair(const Session& session, KeyAlgorithm algorithm, const KeyName& name) {
  const Kind& kind = kind_of(algorithm);
  const ModuleProfile& profile = session.module().profile();
  CK_MECHANISM mechanism{kind.mechanism, nullptr, 0};
  Template public_part = public_template(kind, name, profile);
  Template private_part = private_template(kind, name, profile);
  CK_OBJECT_HANDLE public_handle = 0;
  CK_OBJECT_HANDLE private_handle = 0;
  check(session.module().functions().C_GenerateKeyPair(session.handle(), &mechanism, public_part.data(),
                                                       public_part.size(), private_part.data(),
                                                       private_part.size(), &public_handle, &private_handle),
        fmt::format("generate a key pair ({})", name_of(algorithm)));
  PublicKey public_key = read_public_key_or_distrust(session, public_handle);
  if (public_key.algorithm() != algorithm)
    distrust("the token generated a key of another kind than it was asked for");
  return {name, private_handle, public_handle, std::move(public_key)};
}

std::optional<KeyPair> find_key_pair(const Session& session, const KeyId& id) {
  std::vector<ObjectHandle> private_keys = find_keys(session, CKO_PRIVATE_KEY, id);
  std::vector<ObjectHandle> public_keys = find_keys(session, CKO_PUBLIC_KEY, id);
  if (private_keys.empty() && public_keys.empty()) return std::nullopt;
  if (private_keys.size() != 1 || public_keys.size() != 1) {
    distrust(
        fmt::format("the token has {} private and {} public keys with the ID {}, where one of each belongs",
                    private_keys.size(), public_keys.size(), id.hex()));
  }
  Bytes label = read_attribute(session, private_keys.front(), CKA_LABEL).value_or(Bytes{});
  return KeyPair{{id, std::string(as_text(label))},
                 private_keys.front(),
                 public_keys.front(),
                 read_public_key_or_distrust(session, public_keys.front())};
}

bool has_private_key(const Session& session, const KeyId& id) {
  return !find_keys(session, CKO_PRIVATE_KEY, id).empty();
}

KeyAttributes read_attributes(const Session& session, const KeyPair& pair) {
  auto flag = [&](CK_ATTRIBUTE_TYPE type) {
    return read_flag(session, pair.private_key, type).value_or(false);
  };
  bool is_rsa = read_number(session, pair.private_key, CKA_KEY_TYPE) == CK_ULONG{CKK_RSA};
  return {.is_token_object = flag(CKA_TOKEN),
          .is_private = flag(CKA_PRIVATE),
          .is_sensitive = flag(CKA_SENSITIVE),
          .always_sensitive = flag(CKA_ALWAYS_SENSITIVE),
          .is_extractable = read_flag(session, pair.private_key, CKA_EXTRACTABLE).value_or(true),
          .never_extractable = flag(CKA_NEVER_EXTRACTABLE),
          .is_local = flag(CKA_LOCAL),
          .can_sign = flag(CKA_SIGN),
          .wants_pin_each_time = flag(CKA_ALWAYS_AUTHENTICATE),
          .can_decrypt = flag(CKA_DECRYPT),
          .can_unwrap = flag(CKA_UNWRAP),
          .can_derive = flag(CKA_DERIVE),
          .value_is_unreadable =
              is_unreadable(session, pair.private_key, is_rsa ? CKA_PRIVATE_EXPONENT : CKA_VALUE)};
}

std::vector<std::string> audit(const ModuleProfile& profile, const KeyAttributes& key) {
  std::vector<std::string> complaints;
  auto require = [&](bool holds, const char* complaint) {
    if (!holds) complaints.emplace_back(complaint);
  };
  require(key.is_token_object, "it is not stored on the token");
  require(key.is_private, "it can be used without a login");
  require(key.is_sensitive, "it is not sensitive");
  require(!key.is_extractable, "it is extractable");
  require(key.value_is_unreadable, "the token shows its value");
  require(key.can_sign, "it cannot sign");
  require(!key.wants_pin_each_time, "it wants the PIN for each signature");
  require(!key.can_decrypt || !profile.accepts_decrypt_false, "it can decrypt");
  require(!key.can_unwrap, "it can unwrap keys");
  require(!key.can_derive, "it can derive keys");
  require(key.always_sensitive, "it was not always sensitive");
  require(key.never_extractable, "it was extractable once");
  if (profile.local_is_reliable) require(key.is_local, "it was not generated on the token");
  return complaints;
}

std::string describe(const KeyAttributes& sound) {
  return fmt::format("sensitive, never extractable{}{}", sound.is_local ? ", made in the token" : "",
                     sound.can_decrypt ? "" : ", sign only");
}

void refuse_unless_sound(const Session& session, const KeyPair& pair) {
  std::vector<std::string> complaints = audit(session.module().profile(), read_attributes(session, pair));
  if (!complaints.empty()) {
    distrust(fmt::format("the private key {} is not what it must be: {}", pair.name.id.hex(),
                         fmt::join(complaints, ", ")));
  }
}

void prove_pair(const Session& session, const KeyPair& pair) {
  Bytes nonce = random_bytes(32);
  if (!pair.public_key.verifies(nonce, sign_message(session, pair, nonce))) {
    distrust(
        fmt::format("the token's signature with the key {} does not verify with the public key that it shows",
                    pair.name.id.hex()));
  }
}

}  // namespace fleetroot::pkcs11
