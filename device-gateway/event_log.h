// What a running gateway says: one JSON object a line on stdout ("fleetroot/1", docs/formats.md). Any thread.
#pragma once

#include <mutex>
#include <nlohmann/json.hpp>
#include <string_view>

#include "lib/base/clock.h"

namespace fleetroot::gateway {

class EventLog {
 public:
  explicit EventLog(const Clock& clock) : clock_(clock) {}
  // A line that cannot be written is lost: a gateway does not stop for its log.
  void write(std::string_view event, const nlohmann::ordered_json& members);

 private:
  const Clock& clock_;
  std::mutex mutex_;
};

}  // namespace fleetroot::gateway
