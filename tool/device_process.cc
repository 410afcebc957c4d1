#include "tool/device_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" {  // glibc 2.36's header does not say so itself
#include <sys/pidfd.h>
}

#include <cerrno>

#include "lib/base/error.h"
#include "lib/base/process.h"

namespace fleetroot::station {
namespace {

// This program, also where the file under its name has been replaced.
constexpr const char* kThisProgram = "/proc/self/exe";

[[noreturn]] void refuse_to_start(int error) {
  throw system_error(ErrorCode::internal, "cannot start a process for the device",
                     "close some programs, then scan the device again", error);
}

// What `line` blocks its children do not.
class SpawnAttributes {
 public:
  SpawnAttributes() {
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_init(&attributes_);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;
  ~SpawnAttributes() { posix_spawnattr_destroy(&attributes_); }
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_{};
};

}  // namespace

PipeLines::PipeLines(FileDescriptor fd) : fd_(std::move(fd)) {
  fcntl(fd_.get(), F_SETFL, O_NONBLOCK);
}

std::vector<std::string> PipeLines::read() {
  // As much as a pipe holds, so that one call empties one that nobody writes to any more.
  char piece[65536];
  ssize_t got = fd_ ? ::read(fd_.get(), piece, sizeof piece) : -1;
  if (got > 0) return buffer_.add({piece, static_cast<std::size_t>(got)});
  if (got < 0) return {};
  fd_ = {};
  std::string rest = buffer_.take_rest();
  return rest.empty() ? std::vector<std::string>{} : std::vector{rest};
}

DeviceProcess::DeviceProcess(std::vector<std::string> arguments) {
  auto [our_events, its_events] = make_pipe();
  auto [our_messages, its_messages] = make_pipe();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, its_events.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, its_messages.get(), STDERR_FILENO);
  std::string name = "fleetroot-station";
  std::vector<char*> argv{name.data()};
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  SpawnAttributes attributes;
  int error = posix_spawn(&pid_, kThisProgram, &actions, attributes.get(), argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) refuse_to_start(error);
  ended_ = FileDescriptor(pidfd_open(pid_, 0));
  if (!ended_) {
    error = errno;
    kill();
    reap();
    refuse_to_start(error);
  }
  events_ = PipeLines(std::move(our_events));
  messages_ = PipeLines(std::move(our_messages));
}

void DeviceProcess::kill() const {
  ::kill(-pid_, SIGKILL);
}

int DeviceProcess::reap() const {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  return exit_status(status);
}

}  // namespace fleetroot::station
