// Keys in a real SoftHSM token, signing for OpenSSL.
#include "pkcs11/signing_key.h"

#include <openssl/cms.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "lib/base/program.h"
#include "lib/x509/certificate_request.h"
#include "pkcs11/signing_token.h"
#include "tests/token/token_directory.h"

namespace fleetroot::pkcs11 {
namespace {

const KeyName kName{KeyId::parse("01"), "fleetroot"};

class EveryKind : public TokenTest, public testing::WithParamInterface<KeyAlgorithm> {};

TEST_P(EveryKind, SignsARequestThatVerifiesAndIsFoundAgain) {
  Bytes spki;
  {
    SigningKey key = SigningKey::generate(settings_, GetParam(), kName);
    EXPECT_EQ(key.public_key().algorithm(), GetParam());
    CertificateRequest request = CertificateRequest::create("1FLEET0000000001", key.public_key(), key.evp());
    EXPECT_NO_THROW(request.refuse_unless_sound());
    spki = key.public_key().spki();
  }
  SigningKey again = SigningKey::open(settings_, kName.id);
  EXPECT_EQ(again.public_key().spki(), spki);
}

INSTANTIATE_TEST_SUITE_P(SoftHsm, EveryKind, testing::ValuesIn(kKeyAlgorithms),
                         [](const auto& kind) { return std::string(name_of(kind.param)); });

class SigningKeyTest : public TokenTest {};

TEST_F(SigningKeyTest, NothingIsOverwritten) {
  { SigningKey::generate(settings_, KeyAlgorithm::p256, kName); }
  try {
    SigningKey::generate(settings_, KeyAlgorithm::p256, kName);
    FAIL() << "a second key was generated under the same name";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::token_foreign_object);
  }
}

// One session does one thing at a time: in the same one, signatures of two threads end each other.
TEST_F(SigningKeyTest, SeveralKeysOfOneTokenSignFromSeveralThreads) {
  SigningToken token(settings_);
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (const char* id : {"01", "02", "03"}) {
    token.generate(KeyAlgorithm::p256, {KeyId::parse(id), std::string("key ") + id});
  }
  for (const char* id : {"01", "02", "03", "01", "02", "03"}) {
    threads.emplace_back([&good, key = token.key(KeyId::parse(id))] {
      for (int i = 0; i < 100; ++i) {
        Bytes message = random_bytes(20);
        SignatureInput input{SignatureScheme::ecdsa, NID_sha256, sha256(message)};
        if (key.public_key.verifies(message, key.signer->sign(input))) ++good;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 600);
}

TEST_F(SigningKeyTest, AnEmbeddedTokenThatIsGoneIsMisconfigured) {
  { SigningKey::generate(settings_, KeyAlgorithm::p256, kName); }
  std::filesystem::rename(directory_ / "softhsm", directory_ / "elsewhere");
  try {
    (void)SigningKey::open(settings_, kName.id);
    FAIL() << "a token that is not there was opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::configuration);
  }
  EXPECT_FALSE(std::filesystem::exists(directory_ / "softhsm")) << "nothing is made in its place";
}

TEST_F(SigningKeyTest, AModuleThatHangsEndsWhoWantsToHearOfIt) {
  { SigningKey::generate(settings_, KeyAlgorithm::p256, kName); }
  auto sign_while_it_hangs = [&] {
    SigningToken token(witnessed());
    auto end = [](const Error& error) {
      print_error("test", error);
      _exit(exit_code(error.code()));
    };
    token.watch(end, std::chrono::seconds(1));
    TokenKey key = token.key(kName.id);
    SignatureInput input{SignatureScheme::ecdsa, NID_sha256, sha256(Bytes{1})};
    (void)key.signer->sign(input);
    write_file(directory_ / "hang", "");
    setenv("WITNESS_HANG", (directory_ / "hang").c_str(), 1);
    (void)key.signer->sign(input);
  };
  EXPECT_EXIT(sign_while_it_hangs(), testing::ExitedWithCode(75), "the token has not answered for 1 seconds");
}

// What a kill in the middle of SoftHSM's C_Login leaves.
TEST_F(SigningKeyTest, AnEmptiedTokenObjectIsRestored) {
  { SigningKey::generate(settings_, KeyAlgorithm::p256, kName); }
  int emptied = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory_ / "softhsm" / "tokens")) {
    if (entry.path().filename() != "token.object") continue;
    std::filesystem::resize_file(entry.path(), 0);
    ++emptied;
  }
  ASSERT_EQ(emptied, 1);
  EXPECT_NO_THROW(SigningKey::open(settings_, kName.id));
}

}  // namespace
}  // namespace fleetroot::pkcs11
