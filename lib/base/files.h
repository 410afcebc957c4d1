// The one door to the disk. Every write here is durable when the call returns: file and directory are synced.
// Failures throw Error(io) or Error(cannot_create) with errno's words; what failed has left no half file.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/bytes.h"

namespace fleetroot {

// A file descriptor that closes itself.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  ~FileDescriptor();
  int get() const { return fd_; }
  int release();
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

constexpr std::size_t kMaximumFileSize = 16 << 20;

// The whole file; Error(io) if it is not a regular file, cannot be read or is larger than `maximum` bytes.
std::string read_file(const std::filesystem::path& path, std::size_t maximum = kMaximumFileSize);
// Nothing if there is no such file; otherwise as read_file.
std::optional<std::string> read_file_if_present(const std::filesystem::path& path);

// As read_file, for a file that somebody else may have put there: a symbolic link is refused too.
std::string read_foreign_file(const std::filesystem::path& path, std::size_t maximum);

// Replaces the file atomically: readers, a power cut and a failure see the old content or the new, not half.
// Any number may write one at the same time, each whole. What a killed process left beside it goes.
void write_file(const std::filesystem::path& path, std::string_view content, unsigned mode = 0644);

// Removes what write_file has left in a directory for files whose names end with `suffix`, in processes that
// were killed. What cannot be removed stays, and is no failure.
void remove_leftovers(const std::filesystem::path& directory, std::string_view suffix = {});

// Makes one directory, unless it is there. Error(cannot_create).
void make_directory(const std::filesystem::path& path);
// Makes one directory with mode 0700. Error(cannot_create) if anything but an empty directory is there.
void make_private_directory(const std::filesystem::path& path);

// Syncs every file and directory below `path`, for those who wrote there without syncing (SoftHSM does).
void sync_tree(const std::filesystem::path& path);

// An exclusive advisory lock on `path` (made if absent) for as long as the object lives.
// Nothing if somebody else holds it.
std::optional<FileDescriptor> try_lock_file(const std::filesystem::path& path);

// Waits for whoever holds it.
FileDescriptor lock_file(const std::filesystem::path& path);
// The same on a directory that is there, without a file of its own.
FileDescriptor lock_directory(const std::filesystem::path& path);

}  // namespace fleetroot
