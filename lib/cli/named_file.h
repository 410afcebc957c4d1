// Errors about files that the command line names, or that it finds on a medium.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/files.h"

namespace fleetroot::cli {

// The error, with the file in front: many speak of "it", and a command may have several.
Error naming(const std::filesystem::path& file, const Error& error);

// What `parse` makes of the file's content. Its Error names the file.
template <typename Parse>
auto read_named_file(const std::filesystem::path& path, const Parse& parse,
                     std::size_t maximum = kMaximumFileSize) {
  std::string content = read_file(path, maximum);
  try {
    return parse(content);
  } catch (const Error& error) {
    throw naming(path, error);
  }
}

// What `parse_list` makes of each file, all of it in one list.
template <typename Parse>
auto read_named_files(const std::vector<std::string>& paths, const Parse& parse_list) {
  decltype(parse_list(std::string())) all;
  for (const std::string& path : paths) {
    for (auto& one : read_named_file(path, parse_list)) all.push_back(std::move(one));
  }
  return all;
}

}  // namespace fleetroot::cli
