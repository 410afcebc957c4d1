// NSS softokn: a module that wants initialisation arguments, makes no Ed25519 keys, and whose own certutil
// judges.
#include <gmock/gmock.h>

#include "lib/x509/certificate_request.h"
#include "pkcs11/objects.h"
#include "tests/expect_error.h"
#include "tests/judge.h"
#include "tests/software_pki.h"
#include "tests/token/token_directory.h"

namespace fleetroot::pkcs11 {
namespace {

using testing::ElementsAre;

const KeyName kName{KeyId::parse("a1"), "identity"};

class Nss : public testing::TestWithParam<KeyAlgorithm> {
 protected:
  Nss() {
    write_file(scratch_ / "pin", "1234\n", 0600);
    EXPECT_TRUE(judge({"certutil", "-N", "-d", database_, "-f", scratch_ / "pin"}).accepted());
  }

  ScratchDirectory scratch_;
  std::string database_ = "sql:" + scratch_.path().string();
  TokenSettings settings_{
      .uri = "pkcs11:token=NSS%20Certificate%20DB?module-path=" NSS_MODULE "&pin-source=file:pin",
      .home = scratch_.path(),
      .softhsm_directory = {},
      .init_args = "configdir='" + database_ + "' certPrefix='' keyPrefix='' secmod='secmod.db' flags="};
};

TEST_P(Nss, KeyAndCertificateAreAPairForCertutil) {
  Identity root = issue({.common_name = "Root", .extensions = kCaExtensions});
  {
    SigningKey key = SigningKey::generate(settings_, GetParam(), kName);
    EXPECT_NO_THROW(CertificateRequest::create("dev-1", key.public_key(), key.evp()).refuse_unless_sound());
    EVP_PKEY_up_ref(key.evp());
    Identity device =
        issue({.common_name = "dev-1", .extensions = kClientExtensions}, &root, EvpPkeyPtr(key.evp()));
    write_file(scratch_ / "device.pem", device.certificate.pem());
  }
  Certificate certificate = Certificate::from_pem(read_file(scratch_ / "device.pem"));
  {
    OpenToken token(settings_);
    EXPECT_EQ(token.module.profile().name, "nss-softokn");
    store_certificate(token.session, certificate, kName);
  }
  {
    OpenToken token(settings_);
    EXPECT_THAT(read_certificates(token.session, kName.id), ElementsAre(certificate.der()));
    std::optional<KeyPair> pair = find_key_pair(token.session, kName.id);
    ASSERT_TRUE(pair);
    EXPECT_EQ(pair->public_key, certificate.public_key());
    EXPECT_NO_THROW(refuse_unless_sound(token.session, *pair));
    EXPECT_NO_THROW(prove_pair(token.session, *pair));
  }
  Judgement certutil = judge({"certutil", "-L", "-d", database_});
  EXPECT_THAT(certutil.output, testing::ContainsRegex("identity +u,u,u")) << certutil.output;
}

INSTANTIATE_TEST_SUITE_P(Softokn, Nss, testing::Values(KeyAlgorithm::p256, KeyAlgorithm::rsa2048),
                         [](const auto& kind) { return std::string(name_of(kind.param)); });

class NssToken : public Nss {};

TEST_P(NssToken, WithoutTheMechanismIsRefusedBeforeAnythingIsWritten) {
  EXPECT_EQ(code_of([&] { SigningKey::generate(settings_, GetParam(), kName); }), ErrorCode::token_untrusted);
  OpenToken token(settings_);
  EXPECT_TRUE(inventory(token.session).empty());
}

INSTANTIATE_TEST_SUITE_P(Softokn, NssToken, testing::Values(KeyAlgorithm::ed25519),
                         [](const auto& kind) { return std::string(name_of(kind.param)); });

}  // namespace
}  // namespace fleetroot::pkcs11
