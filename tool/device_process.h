// One device's own process: this program again, as `provision --json`, so that a module that hangs or crashes
// takes nothing but its device with it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "lib/base/files.h"
#include "tool/line_buffer.h"

namespace fleetroot::station {

// Our end of a pipe, read as far as it goes without waiting.
class PipeLines {
 public:
  PipeLines() = default;
  explicit PipeLines(FileDescriptor fd);
  int fd() const { return fd_.get(); }  // -1 once the other end is closed
  // The whole lines that are there by now, and at the end what is behind the last.
  std::vector<std::string> read();

 private:
  static constexpr std::size_t kMaximumLine = 65536;

  FileDescriptor fd_;
  LineBuffer buffer_{kMaximumLine};
};

// One thread. It runs in a session of its own: no terminal to ask for a PIN on, and no Ctrl-C but what we
// pass on. Its stdin is empty. When this object dies before the process does, the process finishes its
// device, or ends where it wants to write to us; either is safe.
class DeviceProcess {
 public:
  // What stands behind the program's name. Error(internal) if the system has no room for a process.
  explicit DeviceProcess(std::vector<std::string> arguments);
  DeviceProcess(const DeviceProcess&) = delete;
  DeviceProcess& operator=(const DeviceProcess&) = delete;

  PipeLines& events() { return events_; }        // its stdout
  PipeLines& messages() { return messages_; }    // its stderr
  int ended_fd() const { return ended_.get(); }  // readable once it has ended

  // All that runs in its session, at once: what it leaves one more run finishes.
  void kill() const;
  // Once it has ended: its exit code, 128 + N after signal N.
  int reap() const;

 private:
  pid_t pid_ = -1;
  FileDescriptor ended_;
  PipeLines events_, messages_;
};

}  // namespace fleetroot::station
