// A gateway's registry with a root in each of two environments, and factories under them, made in memory.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "device-gateway/admission.h"
#include "tests/expect_error.h"
#include "tests/scratch_directory.h"
#include "tests/software_pki.h"

namespace fleetroot::gateway {

inline void PrintTo(Refusal refusal, std::ostream* out) {
  *out << name_of(refusal);
}

inline const EnvironmentName kProduction = EnvironmentName::parse("production");
inline const EnvironmentName kTest = EnvironmentName::parse("test");

inline CertificateRevocationList revocation_list(
    const Identity& issuer, int number, const std::vector<std::pair<SerialNumber, RevocationReason>>& entries,
    int delta_base = 0) {
  std::unique_ptr<X509_CRL, FreeWith<X509_CRL_free>> list(X509_CRL_new());
  X509_CRL_set_version(list.get(), X509_CRL_VERSION_2);
  X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(issuer.certificate.x509()));
  Asn1TimePtr now(ASN1_TIME_set(nullptr, kTestTime.time_since_epoch().count()));
  Asn1TimePtr next(ASN1_TIME_set(nullptr, (kTestTime + std::chrono::hours(24)).time_since_epoch().count()));
  X509_CRL_set1_lastUpdate(list.get(), now.get());
  X509_CRL_set1_nextUpdate(list.get(), next.get());
  for (const auto& [serial, reason] : entries) {
    X509_REVOKED* revoked = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(revoked, serial.asn1().get());
    X509_REVOKED_set_revocationDate(revoked, now.get());
    std::unique_ptr<ASN1_ENUMERATED, FreeWith<ASN1_ENUMERATED_free>> code(ASN1_ENUMERATED_new());
    ASN1_ENUMERATED_set(code.get(), static_cast<long>(reason));
    X509_REVOKED_add1_ext_i2d(revoked, NID_crl_reason, code.get(), 0, 0);
    X509_CRL_add0_revoked(list.get(), revoked);
  }
  auto add_number = [&](int nid, int value, int critical) {
    Asn1IntegerPtr integer(ASN1_INTEGER_new());
    ASN1_INTEGER_set(integer.get(), value);
    X509_CRL_add1_ext_i2d(list.get(), nid, integer.get(), critical, 0);
  };
  add_number(NID_crl_number, number, 0);
  if (delta_base > 0) add_number(NID_delta_crl, delta_base, 1);
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer.certificate.x509(), nullptr, nullptr, list.get(), 0);
  X509ExtensionPtr key_identifier(
      X509V3_EXT_nconf_nid(nullptr, &context, NID_authority_key_identifier, "keyid:always"));
  X509_CRL_add_ext(list.get(), key_identifier.get(), -1);
  EXPECT_GT(X509_CRL_sign(list.get(), issuer.key.get(), EVP_sha256()), 0) << take_openssl_errors();
  return CertificateRevocationList::from_der(to_der(i2d_X509_CRL, static_cast<const X509_CRL*>(list.get())));
}

// With its other valid ECDSA signature, n-s for s, as anybody can make it who has the certificate.
inline Certificate twin_of(const Certificate& certificate) {
  using GroupPtr = std::unique_ptr<EC_GROUP, FreeWith<EC_GROUP_free>>;
  using SignaturePtr = std::unique_ptr<ECDSA_SIG, FreeWith<ECDSA_SIG_free>>;
  X509Ptr twin(X509_dup(certificate.x509()));
  const ASN1_BIT_STRING* bits = nullptr;
  X509_get0_signature(&bits, nullptr, twin.get());
  const unsigned char* in = ASN1_STRING_get0_data(bits);
  SignaturePtr signature(d2i_ECDSA_SIG(nullptr, &in, ASN1_STRING_length(bits)));
  GroupPtr group(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  BignumPtr r(BN_dup(ECDSA_SIG_get0_r(signature.get())));
  BignumPtr s(BN_new());
  BN_sub(s.get(), EC_GROUP_get0_order(group.get()), ECDSA_SIG_get0_s(signature.get()));
  ECDSA_SIG_set0(signature.get(), r.release(), s.release());
  Bytes other = to_der(i2d_ECDSA_SIG, static_cast<const ECDSA_SIG*>(signature.get()));
  ASN1_STRING_set(const_cast<ASN1_BIT_STRING*>(bits), other.data(), static_cast<int>(other.size()));
  return Certificate::from_der(to_der(i2d_X509, static_cast<const X509*>(twin.get())));
}

inline const ExtensionTexts kIssuingExtensions{{"basicConstraints", "critical,CA:TRUE,pathlen:0"},
                                               {"keyUsage", "critical,keyCertSign,cRLSign"}};

class GatewayWorld : public testing::Test {
 protected:
  GatewayWorld() {
    add_root(kProduction, root_.certificate);
    add_root(kTest, test_root_.certificate);
  }

  void add_root(const EnvironmentName& environment, const Certificate& root) {
    registry().add_root({.environment = environment,
                         .fingerprint = root.fingerprint(),
                         .added_at = format_time(kTestTime),
                         .certificate = root});
  }

  Identity device(const std::string& id, EvpPkeyPtr key = nullptr) const {
    return issue({.common_name = id, .extensions = kClientExtensions}, &ca_, std::move(key));
  }

  // What a device presents: its certificate and its issuing CA's.
  std::vector<Certificate> chain_of(const Identity& identity) const {
    return {identity.certificate, ca_.certificate};
  }

  World world() { return World::read(registry(), {kProduction, kTest}); }

  Decision decide(const std::vector<Certificate>& presented, const Rules& rules = {},
                  const EnvironmentName& environment = kProduction) {
    return Admission(environment, rules).decide(presented, world(), registry(), kTestTime);
  }

  // As a handshake does: decided, then entered.
  std::optional<Refusal> connect(const std::vector<Certificate>& presented, const Rules& rules = {},
                                 const EnvironmentName& environment = kProduction) {
    Decision decision = decide(presented, rules, environment);
    if (const Refusal* refusal = std::get_if<Refusal>(&decision)) return *refusal;
    const AdmittedDevice* device = std::get_if<AdmittedDevice>(&decision);
    if (device == nullptr) return std::nullopt;
    return Admission(environment, rules).enter(*device, registry(), kTestTime);
  }

  void put_list(const Identity& issuer, int number,
                const std::vector<std::pair<SerialNumber, RevocationReason>>& entries, int delta_base = 0) {
    CertificateRevocationList list = revocation_list(issuer, number, entries, delta_base);
    registry().put_list(kProduction, {.issuer_key = list.authority_key_identifier(),
                                      .is_delta = delta_base > 0,
                                      .number = number,
                                      .der = list.der()});
  }

  void deliver(const std::string& id, const Certificate& certificate, const std::string& issued_at,
               bool is_rework = false, bool is_revoked = false) {
    registry().put_manifest(kProduction, {.ca = "ca", .order = "PO-1", .created = issued_at, .digest = ""},
                            {{.id = DeviceId::parse(id),
                              .key = key_digest(certificate),
                              .certificate = certificate.fingerprint(),
                              .issued_at = issued_at,
                              .is_rework = is_rework,
                              .is_revoked = is_revoked}});
  }

  std::vector<std::string> devices(const EnvironmentName& environment = kProduction) {
    std::vector<std::string> ids;
    registry().each_device(environment, [&](const DeviceRecord& record) {
      ids.push_back(record.id.text() + " " + record.key + " " + record.certificate + " " +
                    std::string(name_of(record.state)));
    });
    return ids;
  }

  ScratchDirectory directory_;
  Registry& registry() { return *registry_; }
  // As a process that starts anew.
  void reopen() {
    registry_.reset();
    registry_ = std::make_unique<Registry>(directory_ / "registry.db");
  }

  std::unique_ptr<Registry> registry_ = std::make_unique<Registry>(directory_ / "registry.db");
  Identity root_ = issue({.common_name = "Fleet Root", .extensions = kCaExtensions});
  Identity ca_ = issue({.common_name = "Issuing CA", .extensions = kIssuingExtensions}, &root_);
  Identity test_root_ = issue({.common_name = "Test Root", .extensions = kCaExtensions});
};

}  // namespace fleetroot::gateway
