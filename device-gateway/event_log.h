// What a running gateway says: one JSON object a line on stdout ("fleetroot/1", docs/formats.md). Any thread,
// and none of them ever waits for whoever reads it.
#pragma once

#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <thread>

#include "device-gateway/metrics.h"
#include "lib/base/clock.h"

namespace fleetroot::gateway {

class EventLog {
 public:
  EventLog(const Clock& clock, Metrics& metrics);
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;
  // A reader that is behind has one second more.
  ~EventLog();

  // Written at once, or kept until the reader goes on. A line that cannot be written, or is one too many to
  // keep, is lost and counted (log_dropped_total): a gateway does not stop for its log.
  void write(std::string_view event, const nlohmann::ordered_json& members);

 private:
  void run();
  void pass_on();

  const Clock& clock_;
  Metrics& metrics_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string kept_;  // whole lines, but for the first
  bool is_stopping_ = false;
  std::thread thread_;  // writes what is kept
};

}  // namespace fleetroot::gateway
