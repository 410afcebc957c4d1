// Where a key of our own is, as a home's configuration says it; and the embedded default, made.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "lib/base/error.h"

namespace fleetroot::pkcs11 {

// Told why a key of the token did not sign, before that is thrown: the token may be gone, or its session.
using SigningFailure = std::function<void(const Error&)>;

// Which token holds the key, as a home's configuration says it.
struct TokenSettings {
  std::string uri;
  // Relative pin-source files are relative to this.
  std::filesystem::path home;
  // Set for the embedded default: a directory made by create_softhsm_token(). It selects SoftHSM's
  // configuration for this process, so one process uses one such directory.
  std::optional<std::filesystem::path> softhsm_directory;
  // Module-specific initialisation string (NSS softokn wants one); usually empty.
  std::string init_args;
  SigningFailure when_signing_fails{};
};

// For whoever makes a home, before anything is made: whether its token could be one at `uri` or, where that
// is empty, a SoftHSM token in `softhsm_directory`. Error(usage, configuration) if not.
void refuse_unless_possible(const std::string& uri, const std::filesystem::path& softhsm_directory);

// Makes (or adds to) a directory of SoftHSM tokens: initialises a token called `label` with a random PIN,
// writes the PIN to `pin_file` (mode 0600), and syncs it all, because SoftHSM does not. Returns the settings
// that find it again; the URI in them names the token's serial number and the PIN file. `directory` and
// `pin_file` must lie in `home`. Error(configuration) if SoftHSM is not installed.
TokenSettings create_softhsm_token(const std::filesystem::path& home, const std::filesystem::path& directory,
                                   const std::string& label, const std::filesystem::path& pin_file);

}  // namespace fleetroot::pkcs11
