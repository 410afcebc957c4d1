#include "lib/base/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "lib/base/error.h"

namespace fleetroot {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCheckDisk =
    "check the path, its permissions and the free space, then run the same command again";

void sync_path(const fs::path& path, int flags) {
  FileDescriptor fd(open(path.c_str(), flags | O_CLOEXEC));
  if (!fd || fsync(fd.get()) != 0) {
    throw system_error(ErrorCode::io, fmt::format("cannot sync {}", path.string()), kCheckDisk, errno);
  }
}

void sync_directory(const fs::path& path) {
  sync_path(path.empty() ? fs::path(".") : path, O_RDONLY | O_DIRECTORY);
}

// The parent path of "ca/" is "ca".
fs::path parent_of(const fs::path& path) {
  return (path.has_filename() ? path : path.parent_path()).parent_path();
}

void write_all(int fd, std::string_view content, const fs::path& path) {
  while (!content.empty()) {
    ssize_t written = write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      throw system_error(ErrorCode::io, fmt::format("cannot write {}", path.string()), kCheckDisk, errno);
    }
    content.remove_prefix(static_cast<std::size_t>(written));
  }
}

// ---- what is written beside its place first ----
//
// There is one name for it. Who writes there holds a lock on the file, until it is in its place; the lock
// ends with his process. So what nobody holds is left over, whoever left it.

constexpr std::string_view kTemporary = ".fleetroot.tmp";

fs::path temporary_of(const fs::path& path) {
  return path.string() + std::string(kTemporary);
}

FileDescriptor wait_for_lock(FileDescriptor fd, const fs::path& path) {
  while (flock(fd.get(), LOCK_EX) != 0) {
    if (errno == EINTR) continue;
    throw system_error(ErrorCode::io, fmt::format("cannot lock {}", path.string()), kCheckDisk, errno);
  }
  return fd;
}

bool is_at(const FileDescriptor& fd, const fs::path& path) {
  struct stat opened {};
  struct stat named {};
  return fstat(fd.get(), &opened) == 0 && lstat(path.c_str(), &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

FileDescriptor open_to_judge(const fs::path& temporary) {
  return FileDescriptor(open(temporary.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
}

// Waits for a writer who lives.
void clear_away(const fs::path& temporary) {
  FileDescriptor fd = open_to_judge(temporary);
  if (!fd && errno == ENOENT) return;
  if (fd) {
    fd = wait_for_lock(std::move(fd), temporary);
    if (!is_at(fd, temporary) || unlink(temporary.c_str()) == 0) return;
  }
  throw system_error(ErrorCode::cannot_create, fmt::format("cannot clear away {}", temporary.string()),
                     kCheckDisk, errno);
}

void remove_unless_held(const fs::path& temporary) {
  FileDescriptor fd = open_to_judge(temporary);
  if (fd && flock(fd.get(), LOCK_EX | LOCK_NB) == 0 && is_at(fd, temporary)) unlink(temporary.c_str());
}

// Locked, empty, and made here: what somebody left there may have another mode.
FileDescriptor make_temporary(const fs::path& temporary, const fs::path& path, unsigned mode) {
  for (;;) {
    FileDescriptor fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
    if (fd) {
      fd = wait_for_lock(std::move(fd), temporary);
      if (is_at(fd, temporary)) return fd;  // or else it was cleared away before the lock was ours
    } else if (errno == EEXIST) {
      clear_away(temporary);
    } else {
      throw system_error(ErrorCode::cannot_create, fmt::format("cannot create {}", path.string()), kCheckDisk,
                         errno);
    }
  }
}

std::string read_open_file(const FileDescriptor& fd, const fs::path& path, std::size_t maximum) {
  struct stat status {};
  if (fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    throw Error(ErrorCode::io, fmt::format("{} is not a regular file", path.string()), "name a file");
  }
  if (static_cast<std::uintmax_t>(status.st_size) > maximum) {
    throw Error(ErrorCode::io, fmt::format("{} is larger than {} bytes", path.string(), maximum),
                "check that this is the right file");
  }
  std::string content(static_cast<std::size_t>(status.st_size), '\0');
  std::size_t filled = 0;
  while (filled < content.size()) {
    ssize_t got = read(fd.get(), content.data() + filled, content.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      throw system_error(ErrorCode::io, fmt::format("cannot read {}", path.string()), kCheckDisk, errno);
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  content.resize(filled);
  return content;
}

FileDescriptor open_lock(const fs::path& path) {
  FileDescriptor fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) {
    throw system_error(ErrorCode::cannot_create, fmt::format("cannot create {}", path.string()), kCheckDisk,
                       errno);
  }
  return fd;
}

}  // namespace

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) close(fd_);
    fd_ = other.release();
  }
  return *this;
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) close(fd_);
}

int FileDescriptor::release() {
  return std::exchange(fd_, -1);
}

std::string read_file(const fs::path& path, std::size_t maximum) {
  FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) {
    throw system_error(ErrorCode::io, fmt::format("cannot open {}", path.string()),
                       "check the path and its permissions", errno);
  }
  return read_open_file(fd, path, maximum);
}

std::string read_foreign_file(const fs::path& path, std::size_t maximum) {
  FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
  if (!fd && errno == ELOOP) {
    throw Error(ErrorCode::io, fmt::format("{} is a symbolic link", path.string()),
                "put the file itself there");
  }
  if (!fd) {
    throw system_error(ErrorCode::io, fmt::format("cannot open {}", path.string()),
                       "check the path and its permissions", errno);
  }
  return read_open_file(fd, path, maximum);
}

std::optional<std::string> read_file_if_present(const fs::path& path) {
  FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd && errno == ENOENT) return std::nullopt;
  if (!fd) {
    throw system_error(ErrorCode::io, fmt::format("cannot open {}", path.string()), "check its permissions",
                       errno);
  }
  return read_open_file(fd, path, kMaximumFileSize);
}

void write_file(const fs::path& path, std::string_view content, unsigned mode) {
  fs::path temporary = temporary_of(path);
  FileDescriptor fd = make_temporary(temporary, path, mode);
  try {
    write_all(fd.get(), content, path);
    if (fsync(fd.get()) != 0 || rename(temporary.c_str(), path.c_str()) != 0) {
      throw system_error(ErrorCode::io, fmt::format("cannot write {}", path.string()), kCheckDisk, errno);
    }
  } catch (...) {
    unlink(temporary.c_str());
    throw;
  }
  sync_directory(path.parent_path());
}

void remove_leftovers(const fs::path& directory, std::string_view suffix) {
  std::string left = temporary_of(suffix).string();
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().filename().string().ends_with(left)) remove_unless_held(entry->path());
  }
}

void make_directory(const fs::path& path) {
  if (mkdir(path.c_str(), 0777) != 0) {
    int error = errno;
    std::error_code ignored;
    if (error == EEXIST && fs::is_directory(path, ignored)) return;
    throw system_error(ErrorCode::cannot_create, fmt::format("cannot create the directory {}", path.string()),
                       "check the path and its permissions, and that its medium is mounted", error);
  }
  sync_directory(parent_of(path));
}

void make_private_directory(const fs::path& path) {
  if (mkdir(path.c_str(), 0700) != 0) {
    int error = errno;
    std::error_code ignored;
    if (error == EEXIST && fs::is_directory(path, ignored) && fs::is_empty(path, ignored)) {
      error = chmod(path.c_str(), 0700) == 0 ? 0 : errno;
    }
    if (error != 0) {
      const char* hint =
          error == EEXIST ? "name a directory that does not exist yet, or is empty" : kCheckDisk;
      throw system_error(ErrorCode::cannot_create,
                         fmt::format("cannot create the directory {}", path.string()), hint, error);
    }
  }
  sync_directory(parent_of(path));
}

void sync_tree(const fs::path& path) {
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(path)) {
    if (entry.is_regular_file()) sync_path(entry.path(), O_RDONLY);
    if (entry.is_directory()) sync_directory(entry.path());
  }
  sync_directory(path);
}

std::optional<FileDescriptor> try_lock_file(const fs::path& path) {
  FileDescriptor fd = open_lock(path);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno == EWOULDBLOCK) return std::nullopt;
  throw system_error(ErrorCode::io, fmt::format("cannot lock {}", path.string()), kCheckDisk, errno);
}

FileDescriptor lock_file(const fs::path& path) {
  return wait_for_lock(open_lock(path), path);
}

FileDescriptor lock_directory(const fs::path& path) {
  FileDescriptor fd(open(path.empty() ? "." : path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw system_error(ErrorCode::io, fmt::format("cannot open {}", path.string()), kCheckDisk, errno);
  return wait_for_lock(std::move(fd), path);
}

}  // namespace fleetroot
