// The devices of a work order, from its CSV file.
#pragma once

#include <string_view>
#include <vector>

#include "factory-ca/device_record.h"

namespace fleetroot::ca {

// The header names the columns; `device_id` is required, others are kept for the profile. Error(bad_request)
// or Error(invalid_device_id) names the line: an ID that is malformed or there twice, a row with more or
// fewer fields than the header, a value with control characters or longer than 256 octets, no device at all.
std::vector<DeviceRecord> parse_device_list(std::string_view csv);

}  // namespace fleetroot::ca
