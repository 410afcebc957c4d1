#include "lib/media/medium.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/base/error.h"

namespace fleetroot::media {

std::vector<std::filesystem::path> files_on_medium(const std::filesystem::path& directory,
                                                   std::string_view suffix) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().filename().string().ends_with(suffix)) files.push_back(entry->path());
  }
  if (error) {
    throw Error(ErrorCode::io, fmt::format("cannot read the directory {}", directory.string()),
                "check that the medium is there and mounted", error.message());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace fleetroot::media
