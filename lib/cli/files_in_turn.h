// Commands that go through many files, of which a damaged one must not stop the sound ones behind it.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>

#include "lib/base/error.h"

namespace fleetroot::cli {

// Every file gets its turn; one that is refused is reported on stdout, by its name, in the place where the
// others report themselves. One thread.
class FilesInTurn {
 public:
  // json: report as JSON, event "bundle".
  explicit FilesInTurn(bool json) : json_(json) {}

  // Calls `body`; an Error of it is reported and kept. Anything else passes through.
  void take(const std::filesystem::path& file, const std::function<void()>& body);
  // Throws the first Error, which is what the command ends with; it names the file.
  void finish();

 private:
  bool json_;
  std::optional<Error> first_;
};

}  // namespace fleetroot::cli
