// Keys in a real SoftHSM token, signing for OpenSSL.
#include "pkcs11/signing_key.h"

#include <openssl/cms.h>

#include "lib/x509/certificate_request.h"
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
