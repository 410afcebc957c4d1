// Counters for Prometheus (text exposition format 0.0.4). Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace fleetroot::gateway {

class Metrics {
 public:
  // name without prefix: "refused_total"; labels as they are written: environment="test",reason="expired".
  void count(const std::string& name, const std::string& labels, std::int64_t times = 1);
  void set(const std::string& name, const std::string& labels, std::int64_t value);
  std::string text() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::map<std::string, std::int64_t>> values_;
};

}  // namespace fleetroot::gateway
