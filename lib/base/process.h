// Processes: our own, hardened, and a child on two pipes.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/files.h"

namespace fleetroot {

// No core dumps, no ptrace by other processes of the same user; SIGPIPE (a dying p11-kit remote raises it)
// and SIGXFSZ (a file at its size limit) ignored, so that they come back as errors. Standard files that are
// closed stay so: no other file gets their numbers.
void harden_process();

// Whether it would be passed over. One that is blocked comes all the same.
bool is_ignored(int signal);

// SIGTERM, SIGINT and SIGHUP as something to poll and read (signalfd); SIGHUP not where it is ignored
// (nohup). They are blocked from here on, in children too unless their start says otherwise.
FileDescriptor watch_stop_signals();

// The end to read and the end to write, both closed by exec. Error(busy) if there is no room for more files.
std::pair<FileDescriptor, FileDescriptor> make_pipe();

// What a shell makes of waitpid's status: the exit code, 128 + N after signal N.
int exit_status(int status);

// A running child with its stdin and stdout on pipes; stderr is ours. The destructor does as wait().
class ChildProcess {
 public:
  // Looked up in PATH if it has no slash. Error(configuration) if it cannot be started, Error(busy) as below.
  explicit ChildProcess(const std::vector<std::string>& arguments);
  // This program, going on with `body` in a process of its own, which ends with what it returns. Of our files
  // it has its pipes, stderr and those in `kept`, and our secrets are zeros to it. Only while there is one
  // thread and no PKCS#11 module: a forked module is undefined. Error(busy) if the system has no room for
  // a process.
  explicit ChildProcess(const std::function<int()>& body, std::vector<int> kept = {});
  ChildProcess(ChildProcess&&) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;
  ~ChildProcess();

  int stdin_fd() const { return stdin_.get(); }
  int stdout_fd() const { return stdout_.get(); }

  // The child reads the end of its input, and may leave while we do other things.
  void close_input() { stdin_ = {}; }
  // SIGTERM, which one that was started with it blocked may heed where it waits for somebody.
  void ask_to_end() const;
  // Closes its stdin, gives the child some time to leave by itself, and kills it if it does not. Returns
  // its exit code, 128 + N after signal N; the same again when it has left before.
  int wait(std::chrono::seconds grace = std::chrono::seconds(5));

 private:
  pid_t pid_ = -1;  // once it has left, too
  int exit_code_ = 0;
  FileDescriptor stdin_;
  FileDescriptor stdout_;
};

// Splits a command line as a shell would split plain words: blanks separate, '…' and "…" keep together,
// a backslash takes the next character. No variables, no globs, no shell. Error(usage) on an open quote.
std::vector<std::string> split_command(std::string_view command);

// Writes all of it; false if the other side is gone.
bool write_fully(int fd, BytesView bytes);
enum class ReadResult { complete, end_of_file, timeout, failed };
// Fills all of `buffer` before the deadline. end_of_file also when it comes in the middle.
ReadResult read_fully(int fd, std::span<std::uint8_t> buffer, std::chrono::steady_clock::time_point deadline);
// All that comes before the end; nothing if that is more than `maximum` bytes, or late.
std::optional<Bytes> read_to_end(int fd, std::size_t maximum, std::chrono::steady_clock::time_point deadline);

}  // namespace fleetroot
