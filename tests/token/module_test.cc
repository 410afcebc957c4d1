// Modules, and the tokens that they show.
#include "pkcs11/module.h"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>

#include "pkcs11/softhsm.h"
#include "tests/expect_error.h"
#include "tests/judge.h"
#include "tests/token/token_directory.h"

namespace fleetroot::pkcs11 {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Modules : public TokenTest {
 protected:
  TokenSettings add_token(const std::string& label, const std::string& pin_file) {
    return create_softhsm_token(directory_, directory_ / "softhsm", label, directory_ / pin_file);
  }
};

TEST_F(Modules, ThatAreMissingOrNoneAreUnusable) {
  Dl_info crypto{};
  ASSERT_NE(dladdr(reinterpret_cast<void*>(&X509_new), &crypto), 0);
  write_file(directory_ / "text.so", "hello");
  for (const std::string& path : {(directory_ / "absent.so").string(), (directory_ / "text.so").string(),
                                  directory_.string(), std::string(crypto.dli_fname), std::string()}) {
    Error error = error_of([&] { Module module(path); });
    EXPECT_EQ(error.code(), ErrorCode::module_unusable) << path;
    EXPECT_THAT(error.message(), HasSubstr(path));
  }
  // And none of that is in the way of a good one.
  Module module(module_path());
  EXPECT_EQ(module.find_token(Uri::parse("pkcs11:token=dev-1")).label, "dev-1");
}

TEST_F(Modules, AreLoadedAgainAndAgain) {
  for (int i = 0; i < 5; ++i) {
    OpenToken token(settings_);
    EXPECT_EQ(token.session.token().label, "dev-1");
  }
}

TEST_F(Modules, ThatDoNotInitialiseCanBeLoadedOnceTheyDo) {
  setenv("SOFTHSM2_CONF", (directory_ / "absent.conf").c_str(), 1);
  EXPECT_EQ(code_of([&] { Module module(module_path()); }), ErrorCode::module_unusable);
  select_softhsm_directory(directory_ / "softhsm");
  Module module(module_path());
  EXPECT_EQ(module.find_token(Uri::parse("pkcs11:token=dev-1")).label, "dev-1");
}

TEST_F(Modules, ShowTheirTokensAsOthersSeeThem) {
  Module module(module_path());
  TokenInfo token = module.find_token(Uri::parse(settings_.uri));
  EXPECT_EQ(token.label, "dev-1");
  EXPECT_EQ(token.manufacturer, "SoftHSM project");
  EXPECT_EQ(token.model, "SoftHSM v2");
  EXPECT_TRUE(token.is_initialised);
  EXPECT_TRUE(token.has_user_pin);
  EXPECT_FALSE(token.user_pin_locked);
  EXPECT_FALSE(token.user_pin_final_try);
  EXPECT_EQ(module.profile().name, "softhsm");
  Judgement stranger = judge({"p11tool", "--provider", module_path(), "--list-token-urls"});
  EXPECT_TRUE(stranger.says("serial=" + token.serial + ";token=dev-1")) << stranger.output;
}

TEST_F(Modules, FindATokenByEachAttribute) {
  TokenSettings other = add_token("dev-2", "dev-2.pin");
  Module module(module_path());
  TokenInfo token = module.find_token(Uri::parse("pkcs11:token=dev-2"));
  EXPECT_EQ(module.find_token(Uri::parse("pkcs11:serial=" + token.serial)).label, "dev-2");
  EXPECT_EQ(module.find_token(Uri::parse(other.uri)).label, "dev-2");
  EXPECT_EQ(module.find_token(Uri::parse("pkcs11:token=dev-2;model=SoftHSM%20v2")).label, "dev-2");
  for (const char* uri : {"pkcs11:token=dev", "pkcs11:token=DEV-2", "pkcs11:token=dev-2;model=other",
                          "pkcs11:manufacturer=other", "pkcs11:serial=0"}) {
    Error error = error_of([&] { module.find_token(Uri::parse(uri)); });
    EXPECT_EQ(error.code(), ErrorCode::token_absent) << uri;
    EXPECT_THAT(error.cause(), AllOf(HasSubstr("dev-1"), HasSubstr("dev-2")));
  }
}

TEST_F(Modules, NeverGuessBetweenTwoTokens) {
  add_token("dev-1", "twin.pin");
  add_token("other", "other.pin");
  Module module(module_path());
  Error error = error_of([&] { module.find_token(Uri::parse("pkcs11:token=dev-1")); });
  EXPECT_EQ(error.code(), ErrorCode::token_ambiguous);
  EXPECT_THAT(error.message(), AllOf(HasSubstr("2 tokens match"), Not(HasSubstr("other"))));
  EXPECT_EQ(code_of([&] { module.find_token(Uri::parse("pkcs11:")); }), ErrorCode::token_ambiguous);
}

// SoftHSM rewrites a token's file at every login: who lists the tokens in that moment cannot read that one.
TEST_F(Modules, FindATokenWhileAnotherProcessLogsInToTheOneBesideIt) {
  TokenSettings other = add_token("dev-2", "dev-2.pin");
  pid_t neighbour = fork();
  if (neighbour == 0) {
    for (;;) {
      try {
        OpenToken again(other);
      } catch (const std::exception&) {
        // its own trouble with an emptied file is not what is asked here
      }
    }
  }
  for (int i = 0; i < 200; ++i) {
    Module module(module_path());
    for (int k = 0; k < 50; ++k) EXPECT_NO_THROW(module.find_token(Uri::parse("pkcs11:token=dev-1")));
  }
  kill(neighbour, SIGKILL);
  waitpid(neighbour, nullptr, 0);
}

TEST_F(Modules, ShowFortyTwoTokens) {
  for (int i = 2; i <= 42; ++i) add_token("dev-" + std::to_string(i), "n.pin");
  Module module(module_path());
  std::set<std::string> serials;
  for (const TokenInfo& token : module.tokens()) {
    if (token.is_initialised) serials.insert(token.serial);
  }
  EXPECT_EQ(serials.size(), 42U);
  EXPECT_EQ(module.find_token(Uri::parse("pkcs11:token=dev-42")).label, "dev-42");
}

TEST_F(Modules, ATokenThatIsNotInitialisedIsSaidSo) {
  ScratchDirectory empty;
  make_private_directory(empty / "softhsm");
  make_private_directory(empty / "softhsm/tokens");
  select_softhsm_directory(empty / "softhsm");
  {
    Module module(module_path());
    EXPECT_EQ(code_of([&] { module.find_token(Uri::parse("pkcs11:")); }), ErrorCode::token_uninitialised);
  }
  ASSERT_TRUE(judge({"pkcs11-tool", "--module", module_path(), "--slot-index", "0", "--init-token", "--label",
                     "no-pin", "--so-pin", "12345678"})
                  .accepted());
  Module module(module_path());
  Error error = error_of([&] { module.find_token(Uri::parse("pkcs11:token=no-pin")); });
  EXPECT_EQ(error.code(), ErrorCode::token_uninitialised);
  EXPECT_THAT(error.message(), HasSubstr("no user PIN"));
}

TEST_F(Modules, ASessionChecksThatItsTokenIsStillThere) {
  Module module(module_path());
  TokenInfo token = module.find_token(Uri::parse(settings_.uri));
  for (std::string TokenInfo::*part :
       {&TokenInfo::manufacturer, &TokenInfo::model, &TokenInfo::serial, &TokenInfo::label}) {
    TokenInfo another = token;
    another.*part = "0000";
    EXPECT_EQ(code_of([&] { Session session(module, another); }), ErrorCode::token_unplugged);
  }
}

TEST_F(Modules, ASessionAfterTheOtherIsLoggedOut) {
  Module module(module_path());
  TokenInfo token = module.find_token(Uri::parse(settings_.uri));
  {
    Session session(module, token);
    session.log_in(pin_from(settings_, Uri::parse(settings_.uri)));
    EXPECT_NO_THROW(generate_key_pair(session, KeyAlgorithm::p256, {KeyId::parse("01"), "k"}));
  }
  Session session(module, token);
  EXPECT_THROW(generate_key_pair(session, KeyAlgorithm::p256, {KeyId::parse("02"), "k2"}), Error);
}

TEST(SoftHsm, ThatMovedWithItsHomeIsFoundThere) {
  ScratchDirectory scratch;
  std::filesystem::path home = scratch / "a";
  make_private_directory(home);
  TokenSettings settings = create_softhsm_token(home, home / "softhsm", "dev-1", home / "dev-1.pin");
  std::filesystem::rename(home, scratch / "b");
  settings.home = scratch / "b";
  settings.softhsm_directory = scratch / "b/softhsm";
  EXPECT_NO_THROW(SigningKey::generate(settings, KeyAlgorithm::p256, {KeyId::parse("01"), "k"}));
}

}  // namespace
}  // namespace fleetroot::pkcs11
