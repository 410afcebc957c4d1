// The file that a command writes because its command line names it: --out FILE.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

namespace fleetroot::cli {

// Made before the command changes anything, and written when all is done: what cannot or must not be written
// is refused while that costs nothing.
class OutputFile {
 public:
  // Error(usage) for a directory, for a file that is in `home` already, and for one of `inputs`, which the
  // same command reads. Error(cannot_create) where nothing can be written.
  OutputFile(std::filesystem::path path, const std::filesystem::path& home,
             const std::vector<std::filesystem::path>& inputs = {});

  // As write_file() for a regular file, or none; a link to one stays. What else there is, a pipe, a terminal
  // or what stdout is, is written to, and never replaced. Error(io), Error(cannot_create).
  void write(std::string_view content) const;

 private:
  std::filesystem::path path_;
};

}  // namespace fleetroot::cli
