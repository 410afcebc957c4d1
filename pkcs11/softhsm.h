// The embedded default: a directory of SoftHSM tokens inside a home. For trying, testing and pilot lines;
// SoftHSM is software, so its keys are as safe as the disk is.
#pragma once

#include <filesystem>

namespace fleetroot::pkcs11 {

// Points this process (SOFTHSM2_CONF) at the directory. A SoftHSM in this process must not be initialised
// yet.
void select_softhsm_directory(const std::filesystem::path& directory);

// SoftHSM never calls fsync; this does, for the whole directory.
void sync_softhsm_directory(const std::filesystem::path& directory);

}  // namespace fleetroot::pkcs11
