// The provisioning statement: what a station claims about where and how a key was made (docs/formats.md).
// It travels in the PKCS#10 as one attribute, so the device's own key signs it. It is a claim, and is called
// one.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lib/base/clock.h"
#include "lib/base/names.h"

namespace fleetroot {

// A 2.25 object identifier (ITU-T X.667: from a UUID) of our own; the attribute's value is one UTF8String.
inline constexpr const char* kProvisioningStatementOid = "2.25.216331912943461213957210583716504312571";

struct ProvisioningStatement {
  OrderId order;
  StationName station;
  std::string bay;
  // Of the token, as it reports itself.
  std::string token_manufacturer;
  std::string token_model;
  std::string token_serial;
  std::string token_firmware;
  // Of the private key, as the token reports it.
  bool key_local = false;
  bool key_sensitive = false;
  bool key_always_sensitive = false;
  bool key_never_extractable = false;
  std::string mechanism;
  std::string time;

  // Canonical: keys sorted, no white space, UTF-8.
  std::string to_json() const;
  // Error(bad_request) unless it is what to_json() writes: exactly these members, canonical.
  static ProvisioningStatement parse(std::string_view json);
};

}  // namespace fleetroot
