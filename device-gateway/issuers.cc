#include "device-gateway/issuers.h"

#include <fmt/format.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "device-gateway/trust.h"
#include "lib/x509/chain.h"

namespace fleetroot::gateway {
namespace {

[[noreturn]] void reject(const Certificate& issuer, std::string_view why) {
  throw Error(ErrorCode::certificate_rejected, fmt::format("{} {}", issuer.subject(), why),
              "give the certificate of the issuing CA that signed this");
}

// A device, too, chains to a Fleet Root. Without keyUsage a certificate reads as if it had all of them.
void refuse_unless_ca(const Certificate& issuer) {
  bool says_usage = X509_get_ext_by_NID(issuer.x509(), NID_key_usage, -1) >= 0;
  bool may_certify = (X509_get_key_usage(issuer.x509()) & KU_KEY_CERT_SIGN) != 0;
  if (!issuer.is_ca() || !says_usage || !may_certify) reject(issuer, "is not the certificate of a CA");
}

// The certificates on the way up from this one, as far as they are among `known`.
Path path_up(const Certificate& issuer, const std::vector<Certificate>& known) {
  constexpr std::size_t kLongestPath = 5;
  Path path{issuer};
  while (path.size() < kLongestPath) {
    auto is_parent = [&](const Certificate& candidate) {
      return candidate != path.back() && X509_check_issued(candidate.x509(), path.back().x509()) == X509_V_OK;
    };
    auto parent = std::find_if(known.begin(), known.end(), is_parent);
    if (parent == known.end()) break;
    path.push_back(*parent);
  }
  return path;
}

void refuse_if_revoked(const Path& path, Registry& registry, const EnvironmentName& environment) {
  std::vector<CertificateRevocationList> lists;
  for (const ListRecord& list : registry.lists(environment)) {
    lists.push_back(CertificateRevocationList::from_der(list.der));
  }
  if (Trust({}, std::move(lists)).revocation_on(path)) reject(path.front(), "is revoked");
}

}  // namespace

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
    refuse_unless_ca(issuer);
    std::vector<Certificate> known = issuers;
    known.insert(known.end(), roots.begin(), roots.end());
    refuse_if_revoked(path_up(issuer, known), registry, environment);
    return issuer;
  }
  return std::nullopt;
}

}  // namespace fleetroot::gateway
