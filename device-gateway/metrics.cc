#include "device-gateway/metrics.h"

#include <fmt/format.h>

namespace fleetroot::gateway {

void Metrics::count(const std::string& name, const std::string& labels, std::int64_t times) {
  std::lock_guard lock(mutex_);
  values_[name][labels] += times;
}

void Metrics::set(const std::string& name, const std::string& labels, std::int64_t value) {
  std::lock_guard lock(mutex_);
  values_[name][labels] = value;
}

std::string Metrics::text() const {
  std::lock_guard lock(mutex_);
  std::string text;
  for (const auto& [name, values] : values_) {
    const char* type = name.ends_with("_total") ? "counter" : "gauge";
    text += fmt::format("# TYPE fleetroot_gateway_{} {}\n", name, type);
    for (const auto& [labels, value] : values) {
      text += fmt::format("fleetroot_gateway_{}{{{}}} {}\n", name, labels, value);
    }
  }
  return text;
}

}  // namespace fleetroot::gateway
