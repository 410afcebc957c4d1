// The door to the disk, and processes.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "lib/base/files.h"
#include "lib/base/held_signals.h"
#include "lib/base/process.h"
#include "lib/base/secret.h"
#include "tests/expect_error.h"
#include "tests/scratch_directory.h"

static std::vector<ino_t> synced;  // by the function below

// In place of the system's.
extern "C" int fsync(int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return -1;
  synced.push_back(status.st_ino);
  return static_cast<int>(syscall(SYS_fsync, fd));
}

namespace fleetroot {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAreArray;

unsigned mode_of(const fs::path& path) {
  struct stat status {};
  EXPECT_EQ(stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 0777;
}

ino_t inode_of(const fs::path& path) {
  struct stat status {};
  EXPECT_EQ(stat(path.c_str(), &status), 0) << path;
  return status.st_ino;
}

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

// As on a full disk: the next file cannot grow beyond `bytes`.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) : signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, signal_);
  }

 private:
  rlimit before_{};
  void (*signal_)(int);
};

class Files : public testing::Test {
 protected:
  ScratchDirectory directory_;
};

TEST_F(Files, AreReadAsTheyWereWritten) {
  const std::string content("a\0\n\xff", 4);
  write_file(directory_ / "f", content);
  EXPECT_EQ(read_file(directory_ / "f"), content);
  write_file(directory_ / "f", "");
  EXPECT_EQ(read_file_if_present(directory_ / "f"), "");
  EXPECT_EQ(read_file_if_present(directory_ / "g"), std::nullopt);
  EXPECT_THAT(names_in(directory_.path()), ElementsAre("f"));
}

TEST_F(Files, HaveTheModeThatWasAskedFor) {
  write_file(directory_ / "secret", "x", 0600);
  EXPECT_EQ(mode_of(directory_ / "secret"), 0600U);
  // Also where a looser file was before.
  write_file(directory_ / "loose", "x", 0644);
  chmod((directory_ / "loose").c_str(), 0666);
  write_file(directory_ / "loose", "y", 0600);
  EXPECT_EQ(mode_of(directory_ / "loose"), 0600U);
}

TEST_F(Files, ALooseLeftoverOfAKilledProcessLendsNothingToASecret) {
  fs::path leftover = directory_ / "pin.fleetroot.tmp";
  write_file(leftover, "left over");
  chmod(leftover.c_str(), 0666);
  write_file(directory_ / "pin", "1234", 0600);
  EXPECT_EQ(mode_of(directory_ / "pin"), 0600U);
  EXPECT_EQ(read_file(directory_ / "pin"), "1234");
}

TEST_F(Files, LeaveNothingBesideThemOnceOneIsWrittenAfterAKill) {
  for (int i = 0; i < 20; ++i) {
    int is_writing[2];
    ASSERT_EQ(pipe(is_writing), 0);
    pid_t child = fork();
    if (child == 0) {
      for (;;) {
        write_file(directory_ / "crl.der", std::string(100'000, 'c'));
        (void)!write(is_writing[1], "w", 1);
      }
    }
    close(is_writing[1]);
    char word = 0;
    EXPECT_EQ(read(is_writing[0], &word, 1), 1);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    close(is_writing[0]);
    write_file(directory_ / "crl.der", "sound");
    EXPECT_THAT(names_in(directory_.path()), UnorderedElementsAreArray({"crl.der"}));
    EXPECT_EQ(read_file(directory_ / "crl.der"), "sound");
  }
}

TEST_F(Files, AreEachWholeWhenManyWriteOneAtTheSameTime) {
  std::vector<pid_t> writers;
  for (char c : {'a', 'b', 'c', 'd'}) {
    writers.push_back(fork());
    if (writers.back() != 0) continue;
    bool is_whole = true;
    for (int i = 0; i < 50; ++i) {
      write_file(directory_ / "f", std::string(10'000, c));
      std::string content = read_file(directory_ / "f");
      is_whole = is_whole && content == std::string(10'000, content.front());
    }
    _exit(is_whole ? 0 : 1);
  }
  for (pid_t writer : writers) {
    int status = 0;
    waitpid(writer, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_THAT(names_in(directory_.path()), UnorderedElementsAreArray({"f"}));
}

TEST_F(Files, LeftoversOfTheDeadAreRemovedAndNothingElse) {
  std::vector<std::string> stay{"a.request", "a.request.tmp", "a.request.fleetroot.tmp.1",
                                "b.request.fleetroot.tmp", "notes.fleetroot.tmp"};
  for (const std::string& name : stay) write_file(directory_ / name, "x");
  FileDescriptor in_work = lock_file(directory_ / "b.request.fleetroot.tmp");
  write_file(directory_ / "a.request.fleetroot.tmp", "x");
  remove_leftovers(directory_.path(), ".request");
  EXPECT_THAT(names_in(directory_.path()), UnorderedElementsAreArray(stay));
  remove_leftovers(directory_ / "nowhere");
}

TEST_F(Files, AreReplacedWholeWhileAReaderKeepsTheOldOne) {
  write_file(directory_ / "f", "old");
  FileDescriptor reader(open((directory_ / "f").c_str(), O_RDONLY));
  write_file(directory_ / "f", "new and longer");
  char buffer[16] = {};
  EXPECT_EQ(read(reader.get(), buffer, sizeof buffer), 3);
  EXPECT_STREQ(buffer, "old");
}

TEST_F(Files, AFullDiskLeavesTheOldFileAndNothingElse) {
  write_file(directory_ / "f", "old");
  {
    FullDisk disk(100);
    Error error = error_of([&] { write_file(directory_ / "f", std::string(1000, 'x')); });
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_EQ(error.cause(), "File too large");
  }
  EXPECT_EQ(read_file(directory_ / "f"), "old");
  EXPECT_THAT(names_in(directory_.path()), ElementsAre("f"));
}

TEST_F(Files, ADirectoryInThePlaceOfAFileIsRefused) {
  fs::create_directory(directory_ / "d");
  EXPECT_EQ(code_of([&] { write_file(directory_ / "d", "x"); }), ErrorCode::io);
  EXPECT_EQ(code_of([&] { read_file(directory_ / "d"); }), ErrorCode::io);
  EXPECT_EQ(code_of([&] { read_file_if_present(directory_ / "d"); }), ErrorCode::io);
  EXPECT_THAT(names_in(directory_.path()), ElementsAre("d"));
}

TEST_F(Files, APipeInThePlaceOfAFileIsRefusedAtOnce) {
  ASSERT_EQ(mkfifo((directory_ / "p").c_str(), 0600), 0);
  EXPECT_EQ(code_of([&] { read_file(directory_ / "p"); }), ErrorCode::io);
}

TEST_F(Files, ASymbolicLinkIsReplacedAndItsTargetStays) {
  write_file(directory_ / "target", "precious");
  fs::create_symlink("target", directory_ / "link");
  write_file(directory_ / "link", "new");
  EXPECT_FALSE(fs::is_symlink(directory_ / "link"));
  EXPECT_EQ(read_file(directory_ / "target"), "precious");
}

TEST_F(Files, NoDirectoryNoFile) {
  EXPECT_EQ(code_of([&] { write_file(directory_ / "none/f", "x"); }), ErrorCode::cannot_create);
  EXPECT_EQ(code_of([&] { read_file(directory_ / "none/f"); }), ErrorCode::io);
}

TEST_F(Files, AreReadUpToALimit) {
  write_file(directory_ / "f", "12345");
  EXPECT_EQ(read_file(directory_ / "f", 5), "12345");
  EXPECT_EQ(code_of([&] { read_file(directory_ / "f", 4); }), ErrorCode::io);
}

TEST_F(Files, APrivateDirectoryIsNewOrEmptyAndPrivate) {
  make_private_directory(directory_ / "new");
  EXPECT_EQ(mode_of(directory_ / "new"), 0700U);
  fs::create_directory(directory_ / "empty");
  chmod((directory_ / "empty").c_str(), 0755);
  make_private_directory(directory_ / "empty");
  EXPECT_EQ(mode_of(directory_ / "empty"), 0700U);
  write_file(directory_ / "new/f", "x");
  for (const char* taken : {"new", "new/f"}) {
    Error error = error_of([&] { make_private_directory(directory_ / taken); });
    EXPECT_EQ(error.code(), ErrorCode::cannot_create);
    EXPECT_THAT(error.hint(), HasSubstr("does not exist yet"));
  }
  for (const char* impossible : {"a/b", "new/f/a"}) {
    Error error = error_of([&] { make_private_directory(directory_ / impossible); });
    EXPECT_EQ(error.code(), ErrorCode::cannot_create);
    EXPECT_THAT(error.hint(), HasSubstr("check the path, its permissions"));
  }
}

TEST_F(Files, ADirectoryIsInItsParentAfterAPowerCut) {
  auto has_synced_parent = [&](const std::string& name,
                               void (*make)(const fs::path&) = make_private_directory) {
    synced.clear();
    make(directory_ / name);
    return std::count(synced.begin(), synced.end(), inode_of(directory_.path())) == 1;
  };
  EXPECT_TRUE(has_synced_parent("new"));
  EXPECT_TRUE(has_synced_parent("new")) << "nobody says who made it";
  EXPECT_TRUE(has_synced_parent("slash/"));
  EXPECT_TRUE(has_synced_parent("slash//"));
  EXPECT_TRUE(has_synced_parent("other", make_directory));
  EXPECT_TRUE(has_synced_parent("other slash/", make_directory));
}

TEST_F(Files, ADirectoryIsMadeOnce) {
  make_directory(directory_ / "new");
  make_directory(directory_ / "new");
  EXPECT_TRUE(fs::is_directory(directory_ / "new"));
  write_file(directory_ / "f", "x");
  EXPECT_EQ(code_of([&] { make_directory(directory_ / "f"); }), ErrorCode::cannot_create);
  EXPECT_EQ(code_of([&] { make_directory(directory_ / "a/b"); }), ErrorCode::cannot_create);
}

TEST_F(Files, ALockHasOneHolder) {
  std::optional<FileDescriptor> first = try_lock_file(directory_ / "lock");
  ASSERT_TRUE(first);
  EXPECT_FALSE(try_lock_file(directory_ / "lock"));
  first.reset();
  EXPECT_TRUE(try_lock_file(directory_ / "lock"));
  fs::create_symlink("elsewhere", directory_ / "link");
  EXPECT_EQ(code_of([&] { try_lock_file(directory_ / "link"); }), ErrorCode::cannot_create);
}

TEST(SplitCommand, SplitsAsAShellDoes) {
  EXPECT_THAT(split_command("a b\tc\nd"), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(split_command("  a   b  "), ElementsAre("a", "b"));
  EXPECT_THAT(split_command("ssh 'a b' \"c d\" e'f'g"), ElementsAre("ssh", "a b", "c d", "efg"));
  EXPECT_THAT(split_command(R"(a\ b "c\"d" 'e\f')"), ElementsAre("a b", "c\"d", "e\\f"));
  EXPECT_THAT(split_command("a '' \"\""), ElementsAre("a", "", ""));
  EXPECT_THAT(split_command("$HOME * ; | `x`"), ElementsAre("$HOME", "*", ";", "|", "`x`"));
  EXPECT_THAT(split_command(" \n"), IsEmpty());
}

TEST(SplitCommand, RefusesAnOpenQuote) {
  for (const char* text : {"a 'b", "a \"b", "'", R"("a\")"}) {
    EXPECT_EQ(code_of([&] { split_command(text); }), ErrorCode::usage) << text;
  }
}

TEST(HeldSignals, StrikeWhenWhatIsHalfDoneIsUndone) {
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    auto break_off = [&] {
      HeldSignals held;
      held.refuse_if_one_came();
      raise(signal);
      EXPECT_EQ(code_of([&] { held.refuse_if_one_came(); }), ErrorCode::cannot_create);
      std::fputs("undone", stderr);
    };
    EXPECT_EXIT(break_off(), testing::KilledBySignal(signal), "^undone$");
  }
}

// As under nohup: ignored, and blocked, it waits for ever.
TEST(HeldSignals, WhatIsIgnoredAnywayBreaksNothingOff) {
  auto go_on = [] {
    std::signal(SIGHUP, SIG_IGN);
    HeldSignals held;
    raise(SIGHUP);
    held.refuse_if_one_came();
    std::_Exit(HeldSignals::has_one_come() ? 1 : 0);
  };
  EXPECT_EXIT(go_on(), testing::ExitedWithCode(0), "^$");
}

std::chrono::steady_clock::time_point in_ten_seconds() {
  return std::chrono::steady_clock::now() + std::chrono::seconds(10);
}

TEST(Child, TalksOverItsPipesAndTellsItsExitCode) {
  ChildProcess child({"cat"});
  EXPECT_TRUE(write_fully(child.stdin_fd(), as_bytes("hello")));
  Bytes answer(5);
  EXPECT_EQ(read_fully(child.stdout_fd(), answer, in_ten_seconds()), ReadResult::complete);
  EXPECT_EQ(as_text(answer), "hello");
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(ChildProcess({"sh", "-c", "exit 7"}).wait(), 7);
  EXPECT_EQ(ChildProcess({"sh", "-c", "kill -9 $$"}).wait(), 128 + SIGKILL);
}

TEST(Child, ThatHasLeftIsNeitherAskedNorKilled) {
  ChildProcess child({"sh", "-c", "exit 7"});
  EXPECT_EQ(child.wait(), 7);
  child.ask_to_end();
  EXPECT_EQ(child.wait(), 7);
  ChildProcess moved(std::move(child));
  EXPECT_EQ(moved.wait(), 7);
}

TEST(Child, AProgramThatIsNotThereIsAConfigurationError) {
  EXPECT_EQ(code_of([] { ChildProcess({"fleetroot-no-such-program"}); }), ErrorCode::configuration);
}

// The limit is that of what this process has already.
class NoRoom {
 public:
  NoRoom(__rlimit_resource resource, rlim_t limit) : resource_(resource) {
    getrlimit(resource_, &before_);
    rlimit now{limit, before_.rlim_max};
    setrlimit(resource_, &now);
  }
  NoRoom(const NoRoom&) = delete;
  NoRoom& operator=(const NoRoom&) = delete;
  ~NoRoom() { setrlimit(resource_, &before_); }

 private:
  const __rlimit_resource resource_;
  rlimit before_{};
};

TEST(Child, NoRoomForItIsNoFaultOfItsNameAndPasses) {
  ErrorCode without_files{};
  {
    NoRoom no_files(RLIMIT_NOFILE, 0);
    without_files = code_of([] { make_pipe(); });
  }
  EXPECT_EQ(without_files, ErrorCode::busy);
  ErrorCode without_memory{};
  {
    NoRoom no_memory(RLIMIT_AS, 0);  // the stack of a child
    without_memory = code_of([] { ChildProcess({"true"}); });
  }
  EXPECT_EQ(without_memory, ErrorCode::busy);
  EXPECT_EQ(ChildProcess({"true"}).wait(), 0);
}

TEST(Child, ReadingEndsAtTheDeadlineOrTheEnd) {
  ChildProcess child({"cat"});
  Bytes answer(5);
  EXPECT_EQ(read_fully(child.stdout_fd(), answer, std::chrono::steady_clock::now()), ReadResult::timeout);
  ChildProcess brief({"printf", "abc"});
  EXPECT_EQ(read_fully(brief.stdout_fd(), answer, in_ten_seconds()), ReadResult::end_of_file);
}

TEST(Child, WritingToOneThatIsGoneFailsWithoutASignal) {
  harden_process();
  ChildProcess child({"true"});
  Bytes answer(1);
  EXPECT_EQ(read_fully(child.stdout_fd(), answer, in_ten_seconds()), ReadResult::end_of_file);
  EXPECT_FALSE(write_fully(child.stdin_fd(), Bytes(1 << 20)));
}

TEST(Child, ThatClosesItsOutputAndStaysIsKilled) {
  EXPECT_EQ(ChildProcess({"sh", "-c", "exec >/dev/null; exec tail -f /dev/null"}).wait(), 128 + SIGKILL);
}

TEST(Child, ThatIsAForkTalksOverItsPipesAndSeesNoSecret) {
  Secret secret("precious");
  ChildProcess child([&] {
    Bytes question(4);
    bool asked = read_fully(STDIN_FILENO, question, in_ten_seconds()) == ReadResult::complete;
    bool is_wiped = secret.size() == 0 && secret.buffer()[0] == 0;
    write_fully(STDOUT_FILENO, as_bytes(asked && is_wiped ? "zero" : "seen"));
    return 7;
  });
  EXPECT_TRUE(write_fully(child.stdin_fd(), as_bytes("look")));
  Bytes answer(4);
  EXPECT_EQ(read_fully(child.stdout_fd(), answer, in_ten_seconds()), ReadResult::complete);
  EXPECT_EQ(as_text(answer), "zero");
  EXPECT_EQ(child.wait(), 7);
  EXPECT_EQ(secret.view(), "precious");
}

TEST(Child, ThatIsAForkHasNoneOfOurFilesAndSeesTheEndOfItsInput) {
  FileDescriptor ours(open("/dev/null", O_RDONLY));
  ChildProcess child([&] {
    Bytes one(1);
    bool at_end = read_fully(STDIN_FILENO, one, in_ten_seconds()) == ReadResult::end_of_file;
    return at_end && fcntl(ours.get(), F_GETFD) < 0 ? 0 : 1;
  });
  child.close_input();
  EXPECT_EQ(child.wait(), 0);
}

TEST(Child, InheritsNothingOfItsSiblings) {
  // Otherwise a child would not see the end of its input while a younger one lives.
  ChildProcess child({"cat"});
  for (int fd : {child.stdin_fd(), child.stdout_fd()}) {
    EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  }
}

}  // namespace
}  // namespace fleetroot
