#include "device-gateway/issuers.h"

#include "lib/x509/chain.h"

namespace fleetroot::gateway {

std::optional<Certificate> find_issuer(Registry& registry, const EnvironmentName& environment,
                                       const std::vector<Certificate>& issuers, const std::string& key_id,
                                       Time now) {
  std::vector<Certificate> roots;
  for (RootRecord& root : registry.roots()) {
    if (root.environment == environment) roots.push_back(std::move(root.certificate));
  }
  for (const Certificate& root : roots) {
    if (root.subject_key_identifier() == key_id) return root;
  }
  for (const Certificate& issuer : issuers) {
    if (issuer.subject_key_identifier() != key_id) continue;
    verify_chain(issuer,
                 {.roots = roots, .intermediates = issuers, .purpose = ChainPurpose::any, .time = now});
    return issuer;
  }
  return std::nullopt;
}

}  // namespace fleetroot::gateway
