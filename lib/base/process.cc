#include "lib/base/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" {  // glibc 2.36's header does not say so itself
#include <sys/pidfd.h>
}

#include <algorithm>
#include <cerrno>

#include "lib/base/error.h"

namespace fleetroot {
namespace {

using std::chrono::steady_clock;

int remaining_milliseconds(steady_clock::time_point deadline) {
  auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now()).count();
  return left <= 0 ? 0 : static_cast<int>(std::min<decltype(left)>(left, 1 << 30));
}

// Of those above stderr.
bool close_all_but(std::vector<int> kept) {
  std::sort(kept.begin(), kept.end());
  auto next = static_cast<unsigned>(STDERR_FILENO + 1);
  for (int fd : kept) {
    auto number = static_cast<unsigned>(fd);
    if (number > next && close_range(next, number - 1, 0) != 0) return false;
    next = number + 1;
  }
  return close_range(next, ~0U, 0) == 0;
}

// What the system may have no room for, now.
Error cannot_make(const std::string& what, int error) {
  bool is_full = error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE;
  return system_error(is_full ? ErrorCode::busy : ErrorCode::internal, "cannot " + what,
                      "close some programs and try again", error);
}

// A file that can be neither read nor written, in place of those that whoever started us has closed.
void occupy_standard_files() {
  int fd = 0;
  while ((fd = open("/", O_PATH)) >= 0 && fd <= STDERR_FILENO) {
  }
  if (fd >= 0) close(fd);
}

}  // namespace

void harden_process() {
  occupy_standard_files();
  prctl(PR_SET_DUMPABLE, 0);
  rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
}

bool is_ignored(int signal) {
  struct sigaction now {};
  return sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

FileDescriptor watch_stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  if (!is_ignored(SIGHUP)) sigaddset(&signals, SIGHUP);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  return FileDescriptor(signalfd(-1, &signals, SFD_CLOEXEC));
}

int exit_status(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

std::pair<FileDescriptor, FileDescriptor> make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw cannot_make("make a pipe", errno);
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

ChildProcess::ChildProcess(const std::vector<std::string>& arguments) {
  auto [child_stdin, our_stdin] = make_pipe();
  auto [our_stdout, child_stdout] = make_pipe();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, child_stdin.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, child_stdout.get(), STDOUT_FILENO);
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  int error = posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error == EAGAIN || error == ENOMEM) throw cannot_make("start " + arguments.front(), error);
  if (error != 0) {
    throw system_error(ErrorCode::configuration, fmt::format("cannot start {}", arguments.front()),
                       "check the program's name and that it is in PATH", error);
  }
  stdin_ = std::move(our_stdin);
  stdout_ = std::move(our_stdout);
}

ChildProcess::ChildProcess(const std::function<int()>& body, std::vector<int> kept) {
  auto [child_stdin, our_stdin] = make_pipe();
  auto [our_stdout, child_stdout] = make_pipe();
  pid_ = fork();
  if (pid_ < 0) throw cannot_make("start a process", errno);
  if (pid_ == 0) {
    bool ready = dup2(child_stdin.get(), STDIN_FILENO) >= 0 && dup2(child_stdout.get(), STDOUT_FILENO) >= 0 &&
                 close_all_but(std::move(kept));
    _exit(ready ? body() : exit_code(ErrorCode::internal));
  }
  stdin_ = std::move(our_stdin);
  stdout_ = std::move(our_stdout);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      exit_code_(other.exit_code_),
      stdin_(std::move(other.stdin_)),
      stdout_(std::move(other.stdout_)) {}

ChildProcess::~ChildProcess() {
  if (pid_ >= 0) wait();
}

void ChildProcess::ask_to_end() const {
  if (pid_ >= 0) kill(pid_, SIGTERM);
}

int ChildProcess::wait(std::chrono::seconds grace) {
  // It has left before: -1, in the place of its process ID, is everybody's.
  if (pid_ < 0) return exit_code_;
  stdin_ = {};
  // Not the end of its output, which a child may close long before it leaves, if it ever does.
  FileDescriptor process(pidfd_open(pid_, 0));
  pollfd end{process.get(), POLLIN, 0};
  auto deadline = steady_clock::now() + grace;
  while (poll(&end, 1, remaining_milliseconds(deadline)) < 0 && errno == EINTR) {
  }
  if ((end.revents & POLLIN) == 0) kill(pid_, SIGKILL);
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  exit_code_ = exit_status(status);
  return exit_code_;
}

std::vector<std::string> split_command(std::string_view command) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = 0;
  for (std::size_t i = 0; i < command.size(); ++i) {
    char c = command[i];
    if (quote != 0 && c == quote) {
      quote = 0;
    } else if (quote == 0 && (c == '\'' || c == '"')) {
      quote = c;
      in_word = true;
    } else if (c == '\\' && quote != '\'' && i + 1 < command.size()) {
      word.push_back(command[++i]);
      in_word = true;
    } else if (quote == 0 && (c == ' ' || c == '\t' || c == '\n')) {
      if (in_word) words.push_back(std::exchange(word, {}));
      in_word = false;
    } else {
      word.push_back(c);
      in_word = true;
    }
  }
  if (quote != 0) {
    throw Error(ErrorCode::usage, fmt::format("the command has an open quote: {}", command),
                "close the quote");
  }
  if (in_word) words.push_back(word);
  return words;
}

bool write_fully(int fd, BytesView bytes) {
  while (!bytes.empty()) {
    ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

namespace {

// Takes what it has filled off the buffer's front.
ReadResult fill(int fd, std::span<std::uint8_t>& buffer, steady_clock::time_point deadline) {
  while (!buffer.empty()) {
    pollfd readable{fd, POLLIN, 0};
    int ready = poll(&readable, 1, remaining_milliseconds(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return ReadResult::failed;
    if (ready == 0) return ReadResult::timeout;
    ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return ReadResult::failed;
    if (got == 0) return ReadResult::end_of_file;
    buffer = buffer.subspan(static_cast<std::size_t>(got));
  }
  return ReadResult::complete;
}

}  // namespace

ReadResult read_fully(int fd, std::span<std::uint8_t> buffer, steady_clock::time_point deadline) {
  return fill(fd, buffer, deadline);
}

std::optional<Bytes> read_to_end(int fd, std::size_t maximum, steady_clock::time_point deadline) {
  Bytes content(maximum + 1);
  std::span<std::uint8_t> rest(content);
  if (fill(fd, rest, deadline) != ReadResult::end_of_file) return std::nullopt;
  content.resize(content.size() - rest.size());
  return content;
}

}  // namespace fleetroot
