// Bytes that come in pieces, as lines.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fleetroot::station {

class LineBuffer {
 public:
  // Of a longer line the first `maximum` + 1 bytes are kept: enough to see that it is too long.
  explicit LineBuffer(std::size_t maximum) : maximum_(maximum) {}

  // The lines that this piece completes, without their "\n".
  std::vector<std::string> add(std::string_view piece) {
    std::vector<std::string> lines;
    for (char c : piece) {
      if (c == '\n') {
        lines.push_back(take_rest());
      } else if (line_.size() <= maximum_) {
        line_ += c;
      }
    }
    return lines;
  }
  // What came behind the last "\n".
  std::string take_rest() { return std::exchange(line_, {}); }

 private:
  std::size_t maximum_;
  std::string line_;
};

}  // namespace fleetroot::station
