// The embedded default: a directory of SoftHSM tokens inside a home. For trying, testing and pilot lines;
// SoftHSM is software, so its keys are as safe as the disk is.
#pragma once

#include <filesystem>
#include <string>

#include "lib/base/files.h"

namespace fleetroot::pkcs11 {

// Error(configuration) for a directory that SoftHSM's configuration cannot hold, and if SoftHSM is not
// installed.
void refuse_unless_softhsm_fits(const std::filesystem::path& directory);

// Points this process (SOFTHSM2_CONF) at the directory. A SoftHSM in this process must not be initialised
// yet. Error(configuration) for a path that SoftHSM's configuration cannot hold.
void select_softhsm_directory(const std::filesystem::path& directory);

// SoftHSM rewrites a token's token.object in place at every login: a process beside it may find the file
// empty, and one that is killed in that moment leaves it so. While this lives nobody else opens a token of
// the directory, and an emptied file has been restored from the copy that create_softhsm_token() made.
class SoftHsmOpening {
 public:
  explicit SoftHsmOpening(const std::filesystem::path& directory);

 private:
  FileDescriptor lock_;
};

// By the name of its file. For processes that open device tokens beside each other: SoftHSM ends a process by
// an assertion where it finds the files of two tokens half-written, so they must take turns until they are
// logged in.
bool is_softhsm(const std::string& module_path);

// SoftHSM never calls fsync; this does, for the whole directory.
void sync_softhsm_directory(const std::filesystem::path& directory);

}  // namespace fleetroot::pkcs11
