// Files that the command line names.
#pragma once

#include <filesystem>

#include "lib/base/error.h"
#include "lib/base/files.h"

namespace fleetroot::cli {

// What `parse` makes of the file's content. Its Error names the file: a command may have several.
template <typename Parse>
auto read_named_file(const std::filesystem::path& path, const Parse& parse,
                     std::size_t maximum = kMaximumFileSize) {
  std::string content = read_file(path, maximum);
  try {
    return parse(content);
  } catch (const Error& error) {
    throw Error(error.code(), path.string() + ": " + error.message(), error.hint(), error.cause());
  }
}

}  // namespace fleetroot::cli
