// The inventory of a token, and certificates on it.
#include "pkcs11/objects.h"

#include <gmock/gmock.h>

#include "pkcs11/cryptoki.h"
#include "tests/expect_error.h"
#include "tests/judge.h"
#include "tests/software_pki.h"
#include "tests/token/token_directory.h"

namespace fleetroot::pkcs11 {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

const KeyName kName{KeyId::parse("01"), "identity"};

std::vector<ObjectIdentity> identities(const std::vector<TokenObject>& objects) {
  std::vector<ObjectIdentity> identities;
  for (const TokenObject& object : objects) identities.push_back(object.identity);
  return identities;
}

std::vector<std::string> classes(const std::vector<TokenObject>& objects) {
  std::vector<std::string> names;
  for (const TokenObject& object : objects) names.emplace_back(name_of(object.identity.object_class));
  return names;
}

void create_data(const OpenToken& token) {
  Template object;
  object.add_number(CKA_CLASS, CKO_DATA).add(CKA_TOKEN, true).add(CKA_LABEL, "note").add(CKA_VALUE, "text");
  CK_OBJECT_HANDLE handle = 0;
  check(
      token.module.functions().C_CreateObject(token.session.handle(), object.data(), object.size(), &handle),
      "store data");
}

void create_domain_parameters(const OpenToken& token) {
  Template object;
  object.add_number(CKA_CLASS, CKO_DOMAIN_PARAMETERS)
      .add_number(CKA_KEY_TYPE, CKK_DSA)
      .add(CKA_TOKEN, true)
      .add(CKA_PRIME, Bytes(128, 0xff))
      .add(CKA_SUBPRIME, Bytes(20, 0xff))
      .add(CKA_BASE, Bytes(128, 0x02));
  CK_OBJECT_HANDLE handle = 0;
  check(
      token.module.functions().C_CreateObject(token.session.handle(), object.data(), object.size(), &handle),
      "store domain parameters");
}

class Objects : public TokenTest {
 protected:
  // Where the token says so whenever it is asked for the next objects.
  ErrorCode refusal_of_finding(const char* count) const {
    OpenToken token(witnessed());
    setenv("WITNESS_FOUND", count, 1);
    ErrorCode code = code_of([&] { inventory(token.session); });
    unsetenv("WITNESS_FOUND");
    return code;
  }
  // SoftHSM makes the file first, with eight bytes that count its changes.
  void begin_object() const {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory_)) {
      if (entry.path().filename() != "token.object") continue;
      write_file(entry.path().parent_path() / "11111111-2222-3333-4444-555555555555.object",
                 std::string(7, '\0') + '\1');
      return;
    }
  }
};

TEST_F(Objects, MoreThanATokenCanHaveAreNotBelieved) {
  for (const char* count : {"64", "65", "18446744073709551615"})
    EXPECT_EQ(refusal_of_finding(count), ErrorCode::token_untrusted) << count;
}

TEST_F(Objects, OfAFreshTokenAreNone) {
  OpenToken token(settings_);
  EXPECT_THAT(inventory(token.session), IsEmpty());
}

TEST_F(Objects, AreListedWithWhatTellsThemApart) {
  OpenToken token(settings_);
  generate_key_pair(token.session, KeyAlgorithm::p256, kName);
  generate_key_pair(token.session, KeyAlgorithm::rsa2048, {KeyId::parse("02"), "uptane"});
  create_data(token);
  std::vector<TokenObject> objects = inventory(token.session);
  EXPECT_THAT(classes(objects),
              UnorderedElementsAre("private_key", "public_key", "private_key", "public_key", "data"));
  for (const TokenObject& object : objects) {
    const ObjectIdentity& identity = object.identity;
    if (identity.object_class == ObjectClass::data) {
      EXPECT_EQ(identity.label, "note");
      EXPECT_EQ(identity.digest, sha256_hex(as_bytes("text")));
    } else {
      EXPECT_EQ(identity.label, identity.id_hex == "01" ? "identity" : "uptane");
    }
    // A private EC key shows nothing of itself.
    bool is_private_ec = identity.object_class == ObjectClass::private_key && identity.id_hex == "01";
    EXPECT_EQ(identity.digest.empty(), is_private_ec);
  }
}

TEST_F(Objects, AreTheSameInEverySession) {
  std::vector<ObjectIdentity> before;
  {
    OpenToken token(settings_);
    generate_key_pair(token.session, KeyAlgorithm::p256, kName);
    before = identities(inventory(token.session));
  }
  OpenToken token(settings_);
  EXPECT_THAT(objects_not_in(inventory(token.session), before), IsEmpty());
}

TEST_F(Objects, ThatCameLaterAreFound) {
  OpenToken token(settings_);
  generate_key_pair(token.session, KeyAlgorithm::p256, kName);
  std::vector<ObjectIdentity> before = identities(inventory(token.session));
  generate_key_pair(token.session, KeyAlgorithm::p256, kName);
  EXPECT_THAT(classes(objects_not_in(inventory(token.session), before)),
              UnorderedElementsAre("private_key", "public_key"));
}

TEST_F(Objects, ThatLookAlikeAreCounted) {
  OpenToken token(settings_);
  create_data(token);
  std::vector<ObjectIdentity> before = identities(inventory(token.session));
  create_data(token);
  EXPECT_EQ(objects_not_in(inventory(token.session), before).size(), 1U);
  EXPECT_EQ(objects_not_in(inventory(token.session), {}).size(), 2U);
}

TEST_F(Objects, ThatArePrivateAreSeenAfterTheLoginOnly) {
  {
    OpenToken token(settings_);
    generate_key_pair(token.session, KeyAlgorithm::p256, kName);
  }
  Uri uri = Uri::parse(settings_.uri);
  Module module(*uri.module_path);
  Session session(module, module.find_token(uri));
  EXPECT_THAT(classes(inventory(session)), ElementsAre("public_key"));
}

TEST_F(Objects, ThatAKillLeftUnfinishedAreToldFromThoseOfOtherClasses) {
  begin_object();
  OpenToken token(settings_);
  create_domain_parameters(token);
  EXPECT_THAT(classes(inventory(token.session)), UnorderedElementsAre("unfinished", "other"));
}

TEST_F(Objects, MoreThanOneBatchAreAllListed) {
  OpenToken token(settings_);
  for (int i = 0; i < 70; ++i) create_data(token);
  EXPECT_EQ(inventory(token.session).size(), 70U);
}

TEST_F(Objects, ADestroyedOneIsGone) {
  OpenToken token(settings_);
  KeyPair pair = generate_key_pair(token.session, KeyAlgorithm::p256, kName);
  token.session.destroy(pair.private_key);
  EXPECT_THAT(classes(inventory(token.session)), ElementsAre("public_key"));
  EXPECT_THROW(token.session.destroy(pair.private_key), Error);
}

class StoredCertificates : public TokenTest {
 protected:
  Certificate certificate_ = issue({.common_name = "dev-1", .extensions = kClientExtensions}).certificate;
};

TEST_F(StoredCertificates, AreReadBackByteForByteInAnotherSession) {
  {
    OpenToken token(settings_);
    store_certificate(token.session, certificate_, kName);
  }
  OpenToken token(settings_);
  EXPECT_THAT(read_certificates(token.session, kName.id), ElementsAre(certificate_.der()));
  EXPECT_THAT(read_certificates(token.session, KeyId::parse("02")), IsEmpty());
  std::vector<TokenObject> objects = inventory(token.session);
  ASSERT_THAT(classes(objects), ElementsAre("certificate"));
  EXPECT_EQ(objects[0].identity.digest, certificate_.fingerprint());
  EXPECT_EQ(objects[0].identity.label, "identity");
}

TEST_F(StoredCertificates, AreReadByAStrangerWithoutALogin) {
  {
    OpenToken token(settings_);
    store_certificate(token.session, certificate_, kName);
  }
  Judgement gnutls =
      judge({"p11tool", "--provider", module_path(), "--export", "pkcs11:token=dev-1;id=%01;type=cert"});
  ASSERT_TRUE(gnutls.accepted());
  EXPECT_EQ(Certificate::from_pem(gnutls.output), certificate_);
  Judgement opensc = judge({"pkcs11-tool", "--module", module_path(), "--token-label", "dev-1",
                            "--list-objects", "--type", "cert"});
  EXPECT_TRUE(opensc.says("subject:    DN: CN=dev-1")) << opensc.output;
  EXPECT_TRUE(opensc.says("serial:     ")) << opensc.output;
}

TEST_F(StoredCertificates, LargeOnesAreReadWhole) {
  ExtensionTexts extensions = kClientExtensions;
  extensions.emplace_back("nsComment", std::string(9000, 'x'));
  Certificate large = issue({.common_name = "dev-1", .extensions = extensions}).certificate;
  OpenToken token(settings_);
  store_certificate(token.session, large, kName);
  EXPECT_THAT(read_certificates(token.session, kName.id), ElementsAre(large.der()));
}

}  // namespace
}  // namespace fleetroot::pkcs11
