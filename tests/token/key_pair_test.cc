// Key pairs made in a token, judged by their attributes and by strangers.
#include "pkcs11/key_pair.h"

#include <gmock/gmock.h>
#include <p11-kit/pkcs11.h>

#include "pkcs11/attributes.h"
#include "pkcs11/cryptoki.h"
#include "tests/expect_error.h"
#include "tests/judge.h"
#include "tests/token/token_directory.h"

namespace fleetroot::pkcs11 {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

const KeyName kName{KeyId::parse("a1b2"), "identity"};

class EveryKind : public TokenTest, public testing::WithParamInterface<KeyAlgorithm> {};

TEST_P(EveryKind, IsMadeInTheTokenAndGoodForSigningOnly) {
  OpenToken token(settings_);
  refuse_unless_supported(token.session, GetParam());
  KeyPair pair = generate_key_pair(token.session, GetParam(), kName);
  EXPECT_EQ(pair.public_key.algorithm(), GetParam());
  KeyAttributes key = read_attributes(token.session, pair);
  EXPECT_TRUE(key.is_token_object);
  EXPECT_TRUE(key.is_private);
  EXPECT_TRUE(key.is_sensitive);
  EXPECT_TRUE(key.always_sensitive);
  EXPECT_FALSE(key.is_extractable);
  EXPECT_TRUE(key.never_extractable);
  EXPECT_TRUE(key.is_local);
  EXPECT_TRUE(key.can_sign);
  EXPECT_FALSE(key.can_decrypt);
  EXPECT_FALSE(key.can_unwrap);
  EXPECT_FALSE(key.can_derive);
  EXPECT_TRUE(key.value_is_unreadable);
  EXPECT_THAT(audit(token.module.profile(), key), IsEmpty());
  EXPECT_NO_THROW(refuse_unless_sound(token.session, pair));
  EXPECT_NO_THROW(prove_pair(token.session, pair));
}

TEST_P(EveryKind, HasOneIdOnBothHalvesAndIsFoundByIt) {
  OpenToken token(settings_);
  PublicKey made = generate_key_pair(token.session, GetParam(), kName).public_key;
  generate_key_pair(token.session, KeyAlgorithm::p256, {KeyId::parse("01"), "other"});
  Session fresh(token.module, token.session.token());
  std::optional<KeyPair> found = find_key_pair(fresh, kName.id);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->public_key, made);
  EXPECT_EQ(found->name.label, "identity");
  EXPECT_NO_THROW(prove_pair(fresh, *found));
  for (ObjectHandle half : {found->private_key, found->public_key_object}) {
    EXPECT_EQ(read_attribute(fresh, half, CKA_ID), (Bytes{0xa1, 0xb2}));
    EXPECT_EQ(read_attribute(fresh, half, CKA_LABEL), Bytes({'i', 'd', 'e', 'n', 't', 'i', 't', 'y'}));
  }
  EXPECT_EQ(find_key_pair(fresh, KeyId::parse("a1")), std::nullopt);
}

TEST_P(EveryKind, SignsWhatOpensslVerifies) {
  OpenToken token(settings_);
  KeyPair pair = generate_key_pair(token.session, GetParam(), kName);
  write_file(directory_ / "message", "a message");
  Bytes signature = sign_message(token.session, pair, as_bytes("a message"));
  write_file(directory_ / "signature", as_text(signature));
  EXPECT_TRUE(pair.public_key.verifies(as_bytes("a message"), signature));
  write_file(directory_ / "spki", as_text(pair.public_key.spki()));
  std::vector<std::string> command{"openssl",
                                   "pkeyutl",
                                   "-verify",
                                   "-rawin",
                                   "-pubin",
                                   "-inkey",
                                   directory_ / "spki",
                                   "-keyform",
                                   "DER",
                                   "-in",
                                   directory_ / "message",
                                   "-sigfile",
                                   directory_ / "signature"};
  if (GetParam() != KeyAlgorithm::ed25519) {
    command.insert(command.end(), {"-digest", GetParam() == KeyAlgorithm::p384 ? "sha384" : "sha256"});
  }
  EXPECT_TRUE(judge(command).says("Signature Verified Successfully"));
}

INSTANTIATE_TEST_SUITE_P(SoftHsm, EveryKind, testing::ValuesIn(kKeyAlgorithms),
                         [](const auto& kind) { return std::string(name_of(kind.param)); });

class KeyPairs : public TokenTest {
 protected:
  // What a stranger sees.
  Judgement listing() const {
    setenv("GNUTLS_PIN", pin().c_str(), 1);
    Judgement judgement =
        judge({"p11tool", "--provider", module_path(), "--login", "--list-all", "pkcs11:token=dev-1"});
    unsetenv("GNUTLS_PIN");
    return judgement;
  }

  static KeyPair doctored(const OpenToken& token, bool sensitive, bool extractable, bool decrypt) {
    static constexpr std::uint8_t kF4[] = {1, 0, 1};
    Template public_part;
    public_part.add(CKA_TOKEN, true).add(CKA_ID, kName.id.bytes()).add(CKA_VERIFY, true);
    public_part.add_number(CKA_MODULUS_BITS, 2048).add(CKA_PUBLIC_EXPONENT, BytesView(kF4));
    Template private_part;
    private_part.add(CKA_TOKEN, true)
        .add(CKA_PRIVATE, true)
        .add(CKA_SIGN, true)
        .add(CKA_ID, kName.id.bytes());
    private_part.add(CKA_SENSITIVE, sensitive).add(CKA_EXTRACTABLE, extractable).add(CKA_DECRYPT, decrypt);
    private_part.add(CKA_UNWRAP, false);
    CK_MECHANISM mechanism{CKM_RSA_PKCS_KEY_PAIR_GEN, nullptr, 0};
    CK_OBJECT_HANDLE handles[2] = {};
    check(token.module.functions().C_GenerateKeyPair(token.session.handle(), &mechanism, public_part.data(),
                                                     public_part.size(), private_part.data(),
                                                     private_part.size(), &handles[0], &handles[1]),
          "make a doctored key");
    return *find_key_pair(token.session, kName.id);
  }
};

TEST_F(KeyPairs, AreWhatStrangersCallSensitiveAndNeverExtractable) {
  {
    OpenToken token(settings_);
    generate_key_pair(token.session, KeyAlgorithm::p256, kName);
  }
  Judgement gnutls = listing();
  EXPECT_TRUE(gnutls.says("CKA_NEVER_EXTRACTABLE; CKA_SENSITIVE")) << gnutls.output;
  EXPECT_TRUE(gnutls.says("ID: a1:b2")) << gnutls.output;
  setenv("FLEETROOT_TEST_PIN", pin().c_str(), 1);
  Judgement opensc = judge({"pkcs11-tool", "--module", module_path(), "--token-label", "dev-1", "--login",
                            "--pin", "env:FLEETROOT_TEST_PIN", "--list-objects", "--type", "privkey"});
  unsetenv("FLEETROOT_TEST_PIN");
  EXPECT_THAT(opensc.output, AllOf(HasSubstr("Usage:      sign\n"),
                                   HasSubstr("sensitive, always sensitive, never extractable, local")));
}

// A card that was reset, or replugged between two calls: nothing is wrong with it.
TEST_F(KeyPairs, OfATokenThatForgotTheLoginCanBeTriedAgain) {
  OpenToken token(settings_);
  token.module.functions().C_Logout(token.session.handle());
  Error error = error_of([&] { generate_key_pair(token.session, KeyAlgorithm::p256, kName); });
  EXPECT_EQ(error.code(), ErrorCode::token_unplugged);
  EXPECT_EQ(error.cause(), "CKR_USER_NOT_LOGGED_IN");
}

TEST_F(KeyPairs, ThatAreDoctoredAreRefused) {
  struct Case {
    bool sensitive, extractable, decrypt;
    std::vector<std::string> complaints;
  };
  const std::vector<Case> cases{
      {true, false, false, {}},
      {true, true, false, {"it is extractable", "it was extractable once"}},
      {true, false, true, {"it can decrypt"}},
      {false, false, false, {"it is not sensitive", "it was not always sensitive"}},
      {false, true, false, {"it is not sensitive", "it is extractable", "the token shows its value"}},
  };
  OpenToken token(settings_);
  for (const Case& example : cases) {
    KeyPair pair = doctored(token, example.sensitive, example.extractable, example.decrypt);
    std::vector<std::string> said = audit(token.module.profile(), read_attributes(token.session, pair));
    for (const std::string& complaint : example.complaints) EXPECT_THAT(said, Contains(complaint));
    if (example.complaints.empty()) {
      EXPECT_THAT(said, IsEmpty());
    } else {
      Error error = error_of([&] { refuse_unless_sound(token.session, pair); });
      EXPECT_EQ(error.code(), ErrorCode::token_untrusted);
      EXPECT_THAT(error.message(), HasSubstr(example.complaints[0]));
    }
    token.session.destroy(pair.private_key);
    token.session.destroy(pair.public_key_object);
  }
}

TEST_F(KeyPairs, ThatWereBroughtAlongAreRefused) {
  // Made by software, written into the token by a stranger's tool.
  ASSERT_TRUE(judge({"openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out",
                     directory_ / "key.pem"})
                  .accepted());
  ASSERT_TRUE(judge({"softhsm2-util", "--import", directory_ / "key.pem", "--token", "dev-1", "--label", "k",
                     "--id", "a1b2", "--pin", pin()})
                  .accepted());
  OpenToken token(settings_);
  std::optional<KeyPair> pair = find_key_pair(token.session, kName.id);
  ASSERT_TRUE(pair);
  EXPECT_NO_THROW(prove_pair(token.session, *pair)) << "it is a pair";
  EXPECT_THAT(error_of([&] { refuse_unless_sound(token.session, *pair); }).message(),
              HasSubstr("not generated on the token"));
}

TEST_F(KeyPairs, WhoseHalvesDoNotBelongTogetherAreRefused) {
  OpenToken token(settings_);
  KeyPair first = generate_key_pair(token.session, KeyAlgorithm::p256, kName);
  KeyPair second = generate_key_pair(token.session, KeyAlgorithm::p256, {KeyId::parse("02"), "second"});
  std::swap(first.private_key, second.private_key);
  Error error = error_of([&] { prove_pair(token.session, first); });
  EXPECT_EQ(error.code(), ErrorCode::token_untrusted);
  EXPECT_THAT(error.message(), HasSubstr("does not verify"));
}

TEST_F(KeyPairs, ThatAreHalfThereOrTwiceAreRefused) {
  OpenToken token(settings_);
  KeyPair pair = generate_key_pair(token.session, KeyAlgorithm::p256, kName);
  KeyPair twin = generate_key_pair(token.session, KeyAlgorithm::p256, kName);
  EXPECT_EQ(code_of([&] { find_key_pair(token.session, kName.id); }), ErrorCode::token_untrusted);
  token.session.destroy(twin.private_key);
  EXPECT_EQ(code_of([&] { find_key_pair(token.session, kName.id); }), ErrorCode::token_untrusted);
  token.session.destroy(twin.public_key_object);
  EXPECT_TRUE(find_key_pair(token.session, kName.id));
  token.session.destroy(pair.private_key);
  EXPECT_THAT(error_of([&] { find_key_pair(token.session, kName.id); }).message(),
              HasSubstr("0 private and 1 public"));
  token.session.destroy(pair.public_key_object);
  EXPECT_EQ(find_key_pair(token.session, kName.id), std::nullopt);
}

TEST_F(KeyPairs, WithAPublicKeyThatCannotBeReadAreRefused) {
  // What kill -9 leaves behind: an object with the right ID and an empty point.
  OpenToken token(settings_);
  KeyPair pair = generate_key_pair(token.session, KeyAlgorithm::p256, kName);
  token.session.destroy(pair.public_key_object);
  Template object;
  object.add_number(CKA_CLASS, CKO_PUBLIC_KEY).add_number(CKA_KEY_TYPE, CKK_EC).add(CKA_TOKEN, true);
  object.add(CKA_ID, kName.id.bytes()).add(CKA_EC_PARAMS, *from_hex("06082a8648ce3d030107"));
  object.add(CKA_EC_POINT, BytesView());
  CK_OBJECT_HANDLE handle = 0;
  ASSERT_EQ(
      token.module.functions().C_CreateObject(token.session.handle(), object.data(), object.size(), &handle),
      CKR_OK);
  EXPECT_EQ(code_of([&] { find_key_pair(token.session, kName.id); }), ErrorCode::token_untrusted);
}

TEST(KeyIds, AreOneToThirtyTwoOctets) {
  EXPECT_EQ(KeyId::parse("01").hex(), "01");
  EXPECT_EQ(KeyId::parse(std::string(64, 'a')).bytes().size(), 32U);
  for (const std::string& bad : {std::string(), std::string("1"), std::string("xy"), std::string(66, 'a')}) {
    EXPECT_EQ(code_of([&] { KeyId::parse(bad); }), ErrorCode::usage) << bad;
  }
}

TEST(KeyPolicies, AreWhatTheFieldExpects) {
  KeyPolicy plain = KeyPolicy::preset("fleetroot", KeyAlgorithm::p256);
  ASSERT_EQ(plain.specs.size(), 1U);
  EXPECT_EQ(plain.identity().key.id.hex(), "01");
  KeyPolicy aktualizr = KeyPolicy::preset("aktualizr", KeyAlgorithm::p256);
  ASSERT_EQ(aktualizr.specs.size(), 2U);
  EXPECT_EQ(aktualizr.identity().certificate->id.hex(), "01");
  EXPECT_EQ(aktualizr.identity().key.id.hex(), "02");
  EXPECT_EQ(aktualizr.specs[1].key.id.hex(), "03");
  EXPECT_EQ(aktualizr.specs[1].algorithm, KeyAlgorithm::rsa2048);
  EXPECT_EQ(aktualizr.specs[1].certificate.has_value(), false);
  KeyPolicy lmp = KeyPolicy::preset("lmp", KeyAlgorithm::p256);
  EXPECT_EQ(lmp.identity().key.label, "tls");
  EXPECT_EQ(lmp.identity().certificate->id.hex(), "03");
  EXPECT_THAT(error_of([] { KeyPolicy::preset("other", KeyAlgorithm::p256); }).hint(),
              HasSubstr("aktualizr"));
}

}  // namespace
}  // namespace fleetroot::pkcs11
