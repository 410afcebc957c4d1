// What lies on a removable medium, before anybody looks into it.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

namespace fleetroot::media {

// The files of a directory whose names end with `suffix`, by name; whatever they are. Error(io) if it cannot
// be read.
std::vector<std::filesystem::path> files_on_medium(const std::filesystem::path& directory,
                                                   std::string_view suffix);

}  // namespace fleetroot::media
