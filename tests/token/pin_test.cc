// Where PINs come from.
#include "pkcs11/pin.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/files.h"
#include "lib/base/process.h"
#include "tests/expect_error.h"
#include "tests/scratch_directory.h"
#include "tests/token/token_directory.h"

namespace fleetroot::pkcs11 {
namespace {

using testing::HasSubstr;

class PinSources : public testing::Test {
 protected:
  std::string read_from(const std::string& source) const {
    return std::string(
        read_pin({.fd = {}, .uri_source = source, .base = directory_.path(), .prompt = {}}).view());
  }
  ErrorCode refusal_of(const std::string& source) const {
    return code_of([&] { read_from(source); });
  }
  void write(const std::string& name, std::string_view content) const {
    write_file(directory_ / name, content, 0600);
  }

  ScratchDirectory directory_;
};

TEST_F(PinSources, AFileLosesExactlyOneNewline) {
  write("pin", "1234\n");
  EXPECT_EQ(read_from("file:pin"), "1234");
  write("pin", "1234");
  EXPECT_EQ(read_from("file:pin"), "1234");
  for (const char* text : {"1234\n\n", "1234\r\n", "12\t34", "1234\x7f"}) {
    write("pin", text);
    EXPECT_EQ(refusal_of("file:pin"), ErrorCode::pin_missing);
  }
  write("pin", " 12 34 \n");
  EXPECT_EQ(read_from("file:pin"), " 12 34 ");
}

TEST_F(PinSources, AFileIsNamedInThreeWays) {
  write("pin", "1234");
  EXPECT_EQ(read_from("pin"), "1234");
  EXPECT_EQ(read_from("file:" + (directory_ / "pin").string()), "1234");
  EXPECT_EQ(read_from("file://" + (directory_ / "pin").string()), "1234");
}

TEST_F(PinSources, AFileWithoutAPinIsRefused) {
  write("empty", "");
  write("newline", "\n");
  write("long", std::string(256, '1'));
  write("huge", std::string(10'000, '1'));
  std::filesystem::create_directory(directory_ / "directory");
  ASSERT_EQ(mkfifo((directory_ / "pipe").c_str(), 0600), 0);
  for (const char* name : {"absent", "empty", "newline", "long", "huge", "directory", "pipe"}) {
    EXPECT_EQ(refusal_of(name), ErrorCode::pin_missing) << name;
  }
  for (const char* name : {"long", "huge"})
    EXPECT_EQ(error_of([&] { read_from(name); }).message(), "the PIN has more than 255 bytes");
  write("longest", std::string(255, '1'));
  EXPECT_EQ(read_from("longest"), std::string(255, '1'));
}

TEST_F(PinSources, AFileThatEverybodyCanChangeIsRefused) {
  write("pin", "1234");
  chmod((directory_ / "pin").c_str(), 0602);
  Error error = error_of([&] { read_from("pin"); });
  EXPECT_EQ(error.code(), ErrorCode::pin_missing);
  EXPECT_THAT(error.hint(), HasSubstr("chmod 600"));
}

TEST_F(PinSources, AFileThatEverybodyCanReadIsRemarkedUpon) {
  write("pin", "1234");
  chmod((directory_ / "pin").c_str(), 0644);
  testing::internal::CaptureStderr();
  EXPECT_EQ(read_from("pin"), "1234");
  std::string said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, HasSubstr("chmod 600"));
  EXPECT_EQ(said.find("1234"), std::string::npos);
}

TEST_F(PinSources, AnEnvironmentVariableIsTakenAway) {
  setenv("FLEETROOT_TEST_PIN", "1234", 1);
  const char* text = std::getenv("FLEETROOT_TEST_PIN");
  EXPECT_EQ(read_from("env:FLEETROOT_TEST_PIN"), "1234");
  EXPECT_EQ(std::getenv("FLEETROOT_TEST_PIN"), nullptr);
  EXPECT_EQ(std::string_view(text, 4), std::string_view("\0\0\0\0", 4)) << "overwritten where it stood";
  EXPECT_EQ(refusal_of("env:FLEETROOT_TEST_PIN"), ErrorCode::pin_missing);
}

TEST_F(PinSources, ACredentialIsReadFromItsDirectory) {
  unsetenv("CREDENTIALS_DIRECTORY");
  EXPECT_EQ(refusal_of("credential:pin"), ErrorCode::pin_missing);
  write("pin", "1234\n");
  setenv("CREDENTIALS_DIRECTORY", directory_.path().c_str(), 1);
  EXPECT_EQ(read_from("credential:pin"), "1234");
  EXPECT_EQ(refusal_of("credential:../pin"), ErrorCode::pin_missing);
  unsetenv("CREDENTIALS_DIRECTORY");
}

TEST_F(PinSources, ADescriptorWinsOverTheUri) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  {
    FileDescriptor out(ends[1]);
    ASSERT_TRUE(write_fully(out.get(), as_bytes("5678\n")));
  }
  write("pin", "1234");
  Pin pin = read_pin({.fd = ends[0], .uri_source = "pin", .base = directory_.path(), .prompt = {}});
  EXPECT_EQ(pin.view(), "5678");
  EXPECT_EQ(fcntl(ends[0], F_GETFD), -1) << "no child shall have it";
  EXPECT_EQ(code_of([] { read_pin({.fd = 9999, .uri_source = {}, .prompt = {}}); }), ErrorCode::pin_missing);
}

TEST_F(PinSources, NoneAtAllIsSaid) {
  for (bool takes_fd : {true, false}) {
    Error error =
        error_of([&] { read_pin({.fd = {}, .uri_source = {}, .prompt = {}, .takes_fd = takes_fd}); });
    EXPECT_EQ(error.code(), ErrorCode::pin_missing);
    EXPECT_EQ(error.hint().find("--pin-fd") != std::string::npos, takes_fd);
  }
}

class PinOfAToken : public TokenTest {};

TEST_F(PinOfAToken, AWrongOneIsSaidAndTheRightOneStillWorks) {
  Uri uri = Uri::parse(settings_.uri);
  Module module(*uri.module_path);
  Session session(module, module.find_token(uri));
  EXPECT_EQ(code_of([&] { session.log_in(Pin::from_secret(Secret(std::string_view("wrong1")))); }),
            ErrorCode::pin_wrong);
  EXPECT_NO_THROW(session.log_in(pin_from(settings_, uri)));
  EXPECT_NO_THROW(session.log_in(pin_from(settings_, uri))) << "twice is once";
}

TEST_F(PinOfAToken, OfOursIsRandomAndPrivate) {
  EXPECT_EQ(pin().size(), 32U);
  struct stat status {};
  ASSERT_EQ(stat((directory_ / "dev-1.pin").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  create_softhsm_token(directory_, directory_ / "softhsm", "dev-2", directory_ / "dev-2.pin");
  EXPECT_NE(read_file(directory_ / "dev-2.pin"), pin());
}

// Whoever waits for the turn has read the PIN before: a file that is corrected meanwhile is not what it
// tries.
TEST_F(PinSources, AFileThatChangesWhileSomebodyWaitsIsReadAnew) {
  write("pin", "1234");
  WrongPin waiting(directory_.path(), "file:pin");
  EXPECT_NO_THROW(waiting.refuse_if_unchanged());
  write("pin", "5678");
  EXPECT_EQ(code_of([&] { waiting.refuse_if_unchanged(); }), ErrorCode::busy);

  WrongPin next(directory_.path(), "file:pin");
  next.remember();
  EXPECT_EQ(code_of([&] { next.refuse_if_unchanged(); }), ErrorCode::pin_wrong);
  EXPECT_EQ(code_of([&] { waiting.refuse_if_unchanged(); }), ErrorCode::busy) << "it was another PIN";
}

TEST_F(PinSources, TriesOfWhichNobodyHearsAreNotTheLast) {
  write("pin", "1234");
  for (int process = 0; process < 2; ++process)
    EXPECT_NO_THROW(WrongPin(directory_.path(), "file:pin").begin_try(3));
  EXPECT_EQ(code_of([&] { WrongPin(directory_.path(), "file:pin").begin_try(3); }), ErrorCode::pin_locked);
}

TEST_F(PinSources, NoCorrectionOfAFileSpendsTheLastTry) {
  auto try_wrong = [&](const char* pin) {
    write("pin", pin);
    WrongPin next(directory_.path(), "file:pin");
    next.refuse_if_unchanged();
    next.begin_try(3);
    next.remember();
  };
  EXPECT_NO_THROW(try_wrong("1"));
  EXPECT_NO_THROW(try_wrong("2"));
  for (const char* pin : {"3", "4"}) EXPECT_EQ(code_of([&] { try_wrong(pin); }), ErrorCode::pin_locked);
  std::filesystem::remove(directory_.path() / "wrong-pin");
  EXPECT_NO_THROW(try_wrong("5"));
}

TEST_F(PinSources, ARightPinGivesAllTriesBack) {
  for (int process = 0; process < 4; ++process) {
    write("pin", "wrong");
    WrongPin wrong(directory_.path(), "file:pin");
    wrong.begin_try(3);
    wrong.remember();
    write("pin", "right");
    WrongPin right(directory_.path(), "file:pin");
    EXPECT_NO_THROW(right.begin_try(3));
    right.forget();
  }
}

TEST_F(PinSources, ATryThatNoTokenJudgedLeavesThoseBeforeIt) {
  write("pin", "1234");
  WrongPin(directory_.path(), "file:pin").begin_try(3);
  for (int process = 0; process < 3; ++process) {
    WrongPin next(directory_.path(), "file:pin");
    EXPECT_NO_THROW(next.begin_try(3));
    next.take_back();
  }
  EXPECT_NO_THROW(WrongPin(directory_.path(), "file:pin").begin_try(3));
  EXPECT_EQ(code_of([&] { WrongPin(directory_.path(), "file:pin").begin_try(3); }), ErrorCode::pin_locked);
}

}  // namespace
}  // namespace fleetroot::pkcs11
