// A child of `serve`: it says when it is ready, and is started again when it dies.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/process.h"

namespace fleetroot::ca {

// What a child says to the process that started it, on its stdout.
enum class Word : std::uint8_t { none = 0, ready = 'r', signer_is_silent = 's' };
// In the child.
void say(Word word);

// One thread.
class Worker {
 public:
  // One that is not ready has accepted nothing, and may take so long to end.
  static constexpr std::chrono::seconds kUnreadyGrace{5};
  // What it has accepted may take so long to be finished.
  static constexpr std::chrono::seconds kGrace{32};
  // After how long somebody should call keep_alive() again.
  static constexpr std::chrono::seconds kLook{5};

  // `body` says Word::ready, ends with its stdin, and returns the exit code; of our files it has those in
  // `kept`. What can be read from `signals` ends the wait for one that asks for its PIN, or whose token does
  // not answer. Where nobody `types_pin`, one that is started again has a while for it.
  Worker(std::string name, std::function<int()> body, std::vector<int> kept, int signals, bool types_pin);

  // False if it ended before it was ready, or shall; wait() has its exit code then.
  bool start();
  // Of a pipe that breaks when it ends; -1 while there is none.
  int fd() const { return child_ ? child_->stdout_fd() : -1; }
  // The next that it says.
  Word word() const;
  // Ends it; the exit code, 0 where there is none.
  int wait(std::chrono::seconds grace);
  // It finishes what it has begun, and another takes its place. As keep_alive().
  int replace();
  // Somebody has asked it in vain for so long: it is killed. One that was ready only later may not have heard
  // of it.
  void end_if_silent_for(std::chrono::seconds silence);
  // Where it has died by itself, or did not start the last time: its token may have been away. The exit code
  // with which the server has to end, or 0.
  int keep_alive(bool has_died);

 private:
  bool start_within(int milliseconds);
  int start_again();

  std::string name_;
  std::function<int()> body_;
  std::vector<int> kept_;
  int signals_;
  int milliseconds_to_start_;  // again; -1 for ever
  std::optional<ChildProcess> child_;
  std::chrono::steady_clock::time_point started_, ready_;
};

}  // namespace fleetroot::ca
