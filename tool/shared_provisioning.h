// A device without a token: its identity is made by the gateway, which knows it by shared credentials
// (credentials.zip), and lies in files. For test environments.
#pragma once

#include <filesystem>

#include "tool/first_contact.h"

namespace fleetroot::station {

struct SharedJob {
  DeviceId device_id;
  std::filesystem::path credentials;  // the archive
  std::filesystem::path out;          // a directory: device.key (mode 0600), device.pem, gateway-root.pem
  std::string url;                    // empty: what the archive says
};

// Registers the device, writes what comes back durably, and connects with it: the gateway's word on its
// standing. If the files are there already, they are only tried. Error(device_has_certificate) if the gateway
// knows the ID and the files are not there.
std::string provision_shared(const SharedJob& job);

}  // namespace fleetroot::station
