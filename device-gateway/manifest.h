// A CA's delivery note of an order (docs/formats.md, "fleetroot-manifest/1"): which devices there are, with
// which keys, and which of them were reworked.
#pragma once

#include "device-gateway/home.h"
#include "lib/media/signed_document.h"

namespace fleetroot::gateway {

// A million devices. Importing it takes eight times as much memory.
inline constexpr std::size_t kMaximumManifestSize = 512 << 20;

struct Imported {
  bool is_new = false;
  std::string order;
  std::size_t certificates = 0;
};

// Error(certificate_rejected) unless one of `issuers`, which must itself chain to a Fleet Root of the
// environment, or a Fleet Root signed it, and for one that is older than the order's last; Error(bundle_…) if
// it is damaged; Error(bad_request) if it says something else than a manifest does. Nothing is taken over
// then, nor by a dry run.
Imported import_manifest(Registry& registry, const EnvironmentName& environment, BytesView document,
                         const std::vector<Certificate>& issuers, Time now, Commitment commitment);

}  // namespace fleetroot::gateway
