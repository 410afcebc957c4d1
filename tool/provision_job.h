// One device, as it is asked for.
#pragma once

#include <string>

#include "lib/base/names.h"
#include "pkcs11/key_policy.h"
#include "pkcs11/module.h"
#include "pkcs11/pin.h"
#include "pkcs11/uri.h"
#include "tool/bay.h"

namespace fleetroot::station {

// What the command line, or a line of a pipe, asks for.
struct ProvisionJob {
  std::string scan;
  OrderId order;
  BayName bay;
  pkcs11::Uri token;
  pkcs11::ModuleOptions module{};
  pkcs11::Pin pin;
  std::string preset;
  KeyAlgorithm algorithm;
  // Asked for, and not only what the station's settings say for new devices.
  bool wants_preset = false, wants_algorithm = false;
  bool placeholder = false;
  // Try the PIN even if it has been wrong before.
  bool retry_pin = false;
  // The token was initialised anew: what the journal knows of it is history.
  bool rework = false;
  std::string ca;
};

}  // namespace fleetroot::station
