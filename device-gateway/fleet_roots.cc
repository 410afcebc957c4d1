#include "device-gateway/fleet_roots.h"

#include <fmt/format.h>

namespace fleetroot::gateway {
namespace {

[[noreturn]] void reject(const Certificate& root, std::string_view why, std::string hint) {
  throw Error(ErrorCode::certificate_rejected, fmt::format("{} {}", root.subject(), why), std::move(hint));
}

bool is_below(const Certificate& child, const Certificate& parent) {
  bool is_signed = X509_check_issued(parent.x509(), child.x509()) == X509_V_OK &&
                   X509_verify(child.x509(), X509_get0_pubkey(parent.x509())) == 1;
  take_openssl_errors();
  return is_signed;
}

}  // namespace

void refuse_unless_root(const Certificate& root, Time now) {
  if ((X509_get_key_usage(root.x509()) & KU_KEY_CERT_SIGN) == 0) {
    reject(root, "may not sign certificates", "its keyUsage must have keyCertSign");
  }
  if (!root.is_ca()) reject(root, "is not the certificate of a CA", "basicConstraints must say CA:TRUE");
  bool has_usages = X509_get_ext_by_NID(root.x509(), NID_ext_key_usage, -1) >= 0;
  if (has_usages && !root.has_extended_key_usage(NID_client_auth) &&
      !root.has_extended_key_usage(NID_anyExtendedKeyUsage)) {
    reject(root,
           root.has_extended_key_usage(NID_server_auth)
               ? "has the extendedKeyUsage serverAuth alone: no device below it can be a TLS client"
               : "has an extendedKeyUsage without clientAuth: no device below it can be a TLS client",
           "have it made again, with the same key, without extendedKeyUsage or with clientAuth in it");
  }
  if (now < root.not_before()) reject(root, "is not valid yet", "check this machine's clock");
  if (now > root.not_after()) reject(root, "has expired", "take the root's newer certificate");
  EVP_PKEY* key = X509_get0_pubkey(root.x509());
  constexpr int kSecurityBits = 112;
  if (key == nullptr || EVP_PKEY_get_security_bits(key) < kSecurityBits) {
    take_openssl_errors();
    reject(root, "has a key that is too weak, or of no known kind",
           "P-256, P-384, Ed25519, or RSA with 2048 bits or more");
  }
  bool names_itself =
      X509_NAME_cmp(X509_get_subject_name(root.x509()), X509_get_issuer_name(root.x509())) == 0;
  if (names_itself && X509_verify(root.x509(), key) != 1) {
    take_openssl_errors();
    reject(root, "does not bear its own signature", "fetch it again; somebody changed it on the way");
  }
}

bool add_fleet_root(Registry& registry, const EnvironmentName& environment, const Certificate& root,
                    Time now) {
  refuse_unless_root(root, now);
  WriteTransaction transaction = registry.write();
  std::optional<RootRecord> present = registry.root_with_key(key_digest(root));
  if (present && present->environment != environment) {
    reject(root, fmt::format("is a Fleet Root of the environment {}", present->environment.text()),
           "nothing migrates between environments: give each a root of its own");
  }
  for (const RootRecord& other : registry.roots()) {
    if (other.environment == environment) continue;
    if (is_below(root, other.certificate) || is_below(other.certificate, root)) {
      reject(root,
             fmt::format("shares devices with a Fleet Root of the environment {}", other.environment.text()),
             "nothing migrates between environments: give each a root of its own");
    }
  }
  if (present && present->certificate == root) return false;
  if (present)
    registry.remove_root(environment, present->fingerprint);  // a renewed certificate of the same key
  registry.add_root({.environment = environment,
                     .fingerprint = root.fingerprint(),
                     .added_at = format_time(now),
                     .certificate = root});
  transaction.commit();
  return true;
}

void remove_fleet_root(Registry& registry, const EnvironmentName& environment,
                       const std::string& fingerprint) {
  constexpr std::size_t kMinimum = 8;
  WriteTransaction transaction = registry.write();
  std::string found;
  for (const RootRecord& root : registry.roots()) {
    bool is_meant = root.environment == environment && fingerprint.size() >= kMinimum &&
                    root.fingerprint.starts_with(fingerprint);
    if (is_meant && !found.empty()) {
      throw Error(ErrorCode::usage, fmt::format("{} is the beginning of two", fingerprint),
                  "write more of it");
    }
    if (is_meant) found = root.fingerprint;
  }
  if (found.empty()) {
    throw Error(ErrorCode::bad_request,
                fmt::format("{} has no Fleet Root with the fingerprint {}", environment.text(), fingerprint),
                "fleetroot-gateway fleet-root list shows them; eight digits of it will do");
  }
  registry.remove_root(environment, found);
  transaction.commit();
}

}  // namespace fleetroot::gateway
