#include "lib/cli/output_file.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include "lib/base/error.h"
#include "lib/base/files.h"

namespace fleetroot::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCheckPath =
    "check the path, its permissions and the free space, then run the same command again";

// Nothing is in the way of write_file(), which replaces what is there.
bool may_be_replaced(const fs::path& path) {
  std::error_code ignored;
  fs::file_status status = fs::status(path, ignored);
  return fs::is_regular_file(status) || !fs::exists(status);
}

// Where a link leads to. Those of /proc lead to what has no path.
fs::path behind_links(const fs::path& path) {
  std::error_code has_no_path;
  fs::path real = fs::canonical(path, has_no_path);
  return has_no_path ? path : real;
}

bool is_inside(const fs::path& path, const fs::path& directory) {
  return std::mismatch(directory.begin(), directory.end(), path.begin(), path.end()).first == directory.end();
}

// /dev/stdout, which may be a file: another begins it anew, instead of going on where its writer is.
bool is_stdout(const fs::path& path) {
  struct stat named {};
  struct stat standard {};
  return stat(path.c_str(), &named) == 0 && fstat(STDOUT_FILENO, &standard) == 0 &&
         named.st_dev == standard.st_dev && named.st_ino == standard.st_ino;
}

[[noreturn]] void refuse_usage(std::string message, const char* hint) {
  throw Error(ErrorCode::usage, std::move(message), hint);
}

void refuse_unless_writable(const fs::path& path) {
  fs::path place = path;
  if (may_be_replaced(path)) place = behind_links(path).parent_path();
  if (access(place.empty() ? "." : place.c_str(), W_OK) == 0) return;
  throw system_error(ErrorCode::cannot_create, fmt::format("cannot write {}", path.string()), kCheckPath,
                     errno);
}

}  // namespace

OutputFile::OutputFile(fs::path path, const fs::path& home, const std::vector<fs::path>& inputs)
    : path_(std::move(path)) {
  std::error_code ignored;
  if (fs::is_directory(path_, ignored)) {
    refuse_usage(fmt::format("{} is a directory", path_.string()), "name a file in it");
  }
  if (fs::exists(path_, ignored) && is_inside(behind_links(path_), behind_links(home))) {
    refuse_usage(fmt::format("{} is a file of the home {}", path_.string(), home.string()),
                 "name a file outside of the home: what is in it is never replaced");
  }
  for (const fs::path& input : inputs) {
    if (!fs::equivalent(path_, input, ignored)) continue;
    refuse_usage(fmt::format("{} is to be read and to be replaced", path_.string()),
                 "name another file for what is written");
  }
  refuse_unless_writable(path_);
}

void OutputFile::write(std::string_view content) const {
  if (is_stdout(path_)) {
    fmt::print("{}", content);
  } else if (may_be_replaced(path_)) {
    write_file(behind_links(path_), content);
  } else {
    std::ofstream stream(path_, std::ios::binary);
    stream << content << std::flush;
    if (!stream) {
      throw system_error(ErrorCode::io, fmt::format("cannot write {}", path_.string()), kCheckPath, errno);
    }
  }
}

}  // namespace fleetroot::cli
