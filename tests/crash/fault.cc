// Preloaded into a program: ends it, or fails it, at one chosen call to the system, counted over the whole
// process. What strace's injection cannot do is why this is here: strace counts for each thread apart, and a
// write that it fails has written nothing, while a disk that is full has taken half.
//
// FLEETROOT_FAULT_PLAN names a file with one line, "PROCESS CALLS FAULT NUMBER [WHERE]": the process's name
// as in ps (or any); the calls that count, with commas; what becomes of the one with that number, from 1 on;
// and a part of the path, "socket:unix" or "socket:network", if only those count. The plan is read again when
// it is another file. Counted calls are noted in PLAN.calls ("PROCESS PID NUMBER CALL WHERE"). The plan is
// renamed to PLAN.fired before its fault happens, so that it happens once, whoever else is running or started
// later. Number 0 only counts.
//
//   kill       the process is killed before the call
//   error      the call does nothing and says EIO
//   half-kill  half of what was to be written is, then the process is killed
//   half-full  half of what was to be written is, and no more: ENOSPC
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>

namespace {

struct Plan {
  ino_t inode = 0;
  timespec written{};
  std::string process, calls, fault, where;
  long number = 0;
};

std::mutex mutex;  // guards what follows
Plan plan;
long counted = 0;
int full_fd = -1;

// An allocator may read a file when it is first asked; what counts here allocates, and must not ask it then.
bool is_ready = false;
__attribute__((constructor)) void begin() {
  operator delete(operator new(1));
  is_ready = true;
}

const char* plan_path() {
  static const char* const path = std::getenv("FLEETROOT_FAULT_PLAN");
  return path;
}

std::string process_name() {
  char name[17] = {};
  prctl(PR_GET_NAME, name);
  return name;
}

long raw(long number, long a = 0, long b = 0, long c = 0, long d = 0) {
  return syscall(number, a, b, c, d);
}

long address(const void* pointer) {
  return reinterpret_cast<long>(pointer);
}

std::string content_of(const char* path) {
  char content[256] = {};
  int fd = static_cast<int>(raw(SYS_openat, AT_FDCWD, address(path), O_RDONLY | O_CLOEXEC));
  if (fd < 0) return "";
  long size = raw(SYS_read, fd, address(content), sizeof content - 1);
  raw(SYS_close, fd);
  return {content, static_cast<std::size_t>(size < 0 ? 0 : size)};
}

bool read_plan() {
  struct stat status {};
  if (plan_path() == nullptr || stat(plan_path(), &status) != 0) return false;
  bool is_known = status.st_ino == plan.inode && status.st_mtim.tv_sec == plan.written.tv_sec &&
                  status.st_mtim.tv_nsec == plan.written.tv_nsec;
  if (is_known) return true;
  char process[32] = {};
  char calls[128] = {};
  char fault[16] = {};
  char where[64] = {};
  long number = 0;
  if (std::sscanf(content_of(plan_path()).c_str(), "%31s %127s %15s %ld %63s", process, calls, fault, &number,
                  where) < 4)
    return false;  // whoever writes it has not finished
  plan = {status.st_ino, status.st_mtim, process, "," + std::string(calls) + ",", fault, where, number};
  counted = 0;
  return true;
}

std::string place_of(int fd) {
  if (!is_ready) return "";
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) == 0)
    return name.ss_family == AF_UNIX ? "socket:unix" : "socket:network";
  char place[512] = {};
  std::string link = "/proc/self/fd/" + std::to_string(fd);
  return readlink(link.c_str(), place, sizeof place - 1) < 0 ? "-" : place;
}

void note(const std::string& process, const char* call, const std::string& place) {
  std::string line = process + " " + std::to_string(getpid()) + " " + std::to_string(counted) + " " + call +
                     " " + place + "\n";
  std::string path = std::string(plan_path()) + ".calls";
  int fd = static_cast<int>(
      raw(SYS_openat, AT_FDCWD, address(path.c_str()), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  raw(SYS_write, fd, address(line.data()), static_cast<long>(line.size()));
  raw(SYS_close, fd);
}

[[noreturn]] void die() {
  raw(SYS_kill, getpid(), SIGKILL);
  for (;;) pause();
}

// What is to become of this call: nothing ("") if it is not its turn.
std::string fate(const char* call, const std::string& place) {
  if (!is_ready) return "";
  std::lock_guard lock(mutex);
  int error = errno;
  std::string fault;
  std::string process = process_name();
  // SQLite's shared memory is its own to make anew; it only grows here.
  bool counts = !place.ends_with("-shm") && read_plan() &&
                (plan.process == "any" || plan.process == process) &&
                plan.calls.find("," + std::string(call) + ",") != std::string::npos &&
                place.find(plan.where) != std::string::npos;
  if (counts) {
    ++counted;
    note(process, call, place);
    std::string fired = std::string(plan_path()) + ".fired";
    if (counted == plan.number && raw(SYS_rename, address(plan_path()), address(fired.c_str())) == 0)
      fault = plan.fault;
  }
  if (fault == "kill") die();
  errno = error;
  return fault;
}

long fail(int error) {
  errno = error;
  return -1;
}

// `write` writes so many bytes.
template <typename Write>
long write_some(int fd, const char* call, std::size_t size, const Write& write) {
  {
    std::lock_guard lock(mutex);
    if (fd == full_fd) return fail(ENOSPC);
  }
  std::string fault = fate(call, place_of(fd));
  if (fault == "error") return fail(EIO);
  if (fault.empty()) return write(size);
  long written = write(size / 2);
  if (fault == "half-kill") die();
  std::lock_guard lock(mutex);
  full_fd = fd;
  return written;
}

template <typename Call>
long on_file(int fd, const char* call, const Call& make) {
  return fate(call, place_of(fd)) == "error" ? fail(EIO) : make();
}

}  // namespace

extern "C" {

ssize_t write(int fd, const void* data, size_t size) {
  return write_some(fd, "write", size, [&](std::size_t some) {
    return raw(SYS_write, fd, address(data), static_cast<long>(some));
  });
}

ssize_t pwrite64(int fd, const void* data, size_t size, off64_t offset) {
  return write_some(fd, "pwrite64", size, [&](std::size_t some) {
    return raw(SYS_pwrite64, fd, address(data), static_cast<long>(some), offset);
  });
}

int fsync(int fd) {
  return static_cast<int>(on_file(fd, "fsync", [&] { return raw(SYS_fsync, fd); }));
}

int fdatasync(int fd) {
  return static_cast<int>(on_file(fd, "fdatasync", [&] { return raw(SYS_fdatasync, fd); }));
}

int ftruncate64(int fd, off64_t size) noexcept {
  return static_cast<int>(on_file(fd, "ftruncate", [&] { return raw(SYS_ftruncate, fd, size); }));
}

int rename(const char* from, const char* to) noexcept {
  if (fate("rename", to) == "error") return static_cast<int>(fail(EIO));
  return static_cast<int>(raw(SYS_rename, address(from), address(to)));
}

int mkdir(const char* path, mode_t mode) noexcept {
  if (fate("mkdir", path) == "error") return static_cast<int>(fail(EIO));
  return static_cast<int>(raw(SYS_mkdir, address(path), mode));
}

ssize_t read(int fd, void* data, size_t size) {
  return on_file(fd, "read", [&] { return raw(SYS_read, fd, address(data), static_cast<long>(size)); });
}

ssize_t send(int fd, const void* data, size_t size, int flags) {
  return on_file(fd, "send", [&] { return sendto(fd, data, size, flags, nullptr, 0); });
}

ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  return on_file(fd, "sendmsg", [&] { return raw(SYS_sendmsg, fd, address(message), flags); });
}

ssize_t recv(int fd, void* data, size_t size, int flags) {
  return on_file(fd, "recv", [&] { return recvfrom(fd, data, size, flags, nullptr, nullptr); });
}

ssize_t recvmsg(int fd, msghdr* message, int flags) {
  return on_file(fd, "recvmsg", [&] { return raw(SYS_recvmsg, fd, address(message), flags); });
}
}
