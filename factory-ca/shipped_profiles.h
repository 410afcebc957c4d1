// The profiles that init writes into a new home, where people may change them.
#pragma once

#include <array>
#include <string_view>

namespace fleetroot::ca {

struct ShippedProfile {
  std::string_view file_name;
  std::string_view toml;
};

inline constexpr std::array kShippedProfiles{
    ShippedProfile{"device.toml",
                   R"(# What a device's certificate says. The common name is the device ID, always;
# basicConstraints (no CA) and the key identifiers are added, always.
name = "device"

# Which keys a request may bring: p256, p384, rsa2048, rsa3072, ed25519.
key_algorithms = ["p256", "p384", "rsa2048", "rsa3072", "ed25519"]

# "N years" (1 to 100), "N days", or "none" (99991231235959Z). It must end before the issuing CA's certificate does.
validity = "10 years"

key_usage = ["digitalSignature"]       # critical
extended_key_usage = ["clientAuth"]    # or object identifiers in dotted decimal

# Further subject attributes, all optional:
# [subject]
# country = "DE"
# organization = "Acme"
# organizational_unit = "Line 1"
# serial_number = "device_id"          # or "column:NAME": a column of the order's list
)"},
    ShippedProfile{
        "idevid.toml",
        R"(# An initial device identity, IEEE 802.1AR: no expiry, a serialNumber, and a hardwareModuleName
# (RFC 4108) as alternative name. The common name is the device ID here too.
# It has no extendedKeyUsage: an IDevID is what a device enrols with wherever it comes to. As a client of the fleet
# it is not meant, and fleetroot-gateway refuses it (not_for_clients). A profile with clientAuth is for that: device.
name = "idevid"

key_algorithms = ["p256", "p384", "rsa2048", "rsa3072", "ed25519"]
validity = "none"
key_usage = ["digitalSignature"]

[subject]
# organization = "Acme"
serial_number = "device_id"            # or "column:NAME": a column of the order's list

[hardware_module]
# The kind of hardware, as an object identifier under the maker's own arc. Replace this one, which is
# Fleetroot's and only says that nobody has chosen.
type = "2.25.117239208193265744936414205337125904385"
serial = "device_id"                   # or "column:hw_serial"
)"},
};

}  // namespace fleetroot::ca
