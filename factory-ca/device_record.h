// A device as a work order knows it: its ID and the other columns of the order's list.
#pragma once

#include <map>
#include <string>

#include "lib/x509/device_id.h"

namespace fleetroot::ca {

struct DeviceRecord {
  DeviceId id;
  std::map<std::string, std::string> columns;
};

// Canonical JSON: one object of strings.
std::string columns_to_json(const std::map<std::string, std::string>& columns);
std::map<std::string, std::string> columns_from_json(const std::string& json);

}  // namespace fleetroot::ca
