// A bay of the line: where one device at a time is provisioned, and how its token is found.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/names.h"
#include "lib/x509/device_id.h"
#include "pkcs11/module.h"
#include "pkcs11/uri.h"

namespace fleetroot::station {

struct BayKind {
  static constexpr std::string_view kWord = "bay";
};
using BayName = Name<BayKind>;

// Nobody types PINs on a running line, and what is in the environment every device's process would inherit.
// Error(code) unless the PIN comes from a file or a credential; `whose` token it is, the message says.
void refuse_unless_unattended(const pkcs11::Uri& uri, std::string_view whose, ErrorCode code);

// A token URI in which {device_id} may stand for the device in the bay.
class TokenTemplate {
 public:
  // Error(usage), also as refuse_unless_unattended. A relative pin-source counts from `base`.
  static TokenTemplate parse(std::string_view text, const std::filesystem::path& base = {},
                             std::string_view whose = "the bay's");

  bool names_device() const;
  // Error(usage) where this ID is no value for the attribute that it stands in: a label has 32 characters.
  std::string uri_for(const DeviceId& device_id) const;

 private:
  explicit TokenTemplate(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

struct Bay {
  BayName name;
  TokenTemplate token;
  pkcs11::ModuleOptions module{};

  // "NAME=pkcs11:…". Error(usage).
  static Bay parse(std::string_view text);
};

// Error(code) for two bays of one name.
void refuse_double_names(const std::vector<Bay>& bays, ErrorCode code);

}  // namespace fleetroot::station
