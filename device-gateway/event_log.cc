#include "device-gateway/event_log.h"

#include <cstdio>

namespace fleetroot::gateway {

void EventLog::write(std::string_view event, const nlohmann::ordered_json& members) {
  nlohmann::ordered_json line{
      {"schema", "fleetroot/1"}, {"event", event}, {"time", format_time(clock_.now())}};
  line.update(members);
  // Replaced, where a stranger's name is no UTF-8.
  std::string text = line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  std::lock_guard lock(mutex_);
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace fleetroot::gateway
