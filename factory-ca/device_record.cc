#include "factory-ca/device_record.h"

#include <nlohmann/json.hpp>

namespace fleetroot::ca {

std::string columns_to_json(const std::map<std::string, std::string>& columns) {
  if (columns.empty()) return "{}";
  return nlohmann::json(columns).dump();
}

std::map<std::string, std::string> columns_from_json(const std::string& json) {
  if (json == "{}") return {};
  return nlohmann::json::parse(json).get<std::map<std::string, std::string>>();
}

}  // namespace fleetroot::ca
