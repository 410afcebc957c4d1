// Making a CA: its keys, its certificates, its home.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "factory-ca/home.h"
#include "lib/base/clock.h"
#include "lib/x509/certificate_request.h"

namespace fleetroot::ca {

enum class Tiers {
  // A Fleet Root, and an issuing CA under it.
  two,
  // The Fleet Root signs devices itself.
  single,
  // An issuing key and its request; the root is elsewhere.
  external_root,
  // A Fleet Root alone, to be kept offline.
  root_only
};

struct NewCa {
  std::filesystem::path home;
  std::string name;
  Tiers tiers = Tiers::two;
  KeyAlgorithm algorithm = KeyAlgorithm::p256;
  // PKCS#11 URIs; empty for an embedded SoftHSM token.
  std::string root_token;
  std::string issuing_token;
};

// Makes the home. Error(cannot_create) if something is there already; on any failure nothing is left of it.
void create_ca(const NewCa& wanted, const Clock& clock);

// An issuing key and its certificate that exist already, under a root that exists already.
struct ExistingCa {
  std::filesystem::path home;
  std::string name;
  std::string issuing_token;
  pkcs11::KeyId issuing_key_id;
  Certificate fleet_root;
  Certificate issuing_certificate;
};
// Takes them over after refuse_unless_usable() and a comparison with the token's key.
void adopt_ca(const ExistingCa& existing, const Clock& clock);

// The second half of Tiers::external_root: what the root made of issuing-ca.csr. In place of the one that is
// there it must be the same CA's, Error(certificate_rejected); Error(configuration) once that is revoked: the
// key stays so.
void accept_certificate(const Home& home, const Certificate& fleet_root, const Certificate& issuing,
                        const Clock& clock);

// An offline root's work: a certificate for an issuing CA.
Certificate issue_authority(const Home& home, const CertificateRequest& request, const Clock& clock);

// One line a thing that was checked; throws for the first that is wrong. Opens the key and signs with it.
std::vector<std::string> check_configuration(const Home& home, const Clock& clock);

}  // namespace fleetroot::ca
