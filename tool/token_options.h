// How commands name a device's token, and where its PIN comes from.
#pragma once

#include <optional>
#include <string>

#include "pkcs11/module.h"
#include "pkcs11/pin.h"
#include "pkcs11/uri.h"
#include "tool/commands_cli.h"

namespace fleetroot::station {

struct TokenOptions {
  std::string uri;
  pkcs11::ModuleOptions module{};
  std::optional<int> pin_fd;

  void add_to(CLI::App& command);
  pkcs11::Pin read_pin(const pkcs11::Uri& parsed) const;
};

}  // namespace fleetroot::station
