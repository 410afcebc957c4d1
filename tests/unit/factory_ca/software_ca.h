// A factory CA whose keys are in memory: a Fleet Root, an issuing CA, a clock that is told the time.
#pragma once

#include <functional>
#include <mutex>
#include <string>

#include "factory-ca/authority.h"
#include "factory-ca/issuing_key.h"
#include "factory-ca/profile.h"
#include "factory-ca/shipped_profiles.h"
#include "tests/software_pki.h"

namespace fleetroot::ca {

class ToldClock : public Clock {
 public:
  Time now() const override {
    std::lock_guard lock(mutex_);
    looking();
    return time;
  }

  Time time = kTestTime;
  // Called first: another process may do something just then, or this one may die.
  std::function<void()> looking = [] {};

 private:
  mutable std::recursive_mutex mutex_;  // one thread looks at a time; what it does then may look, too
};

// A CA's key with its certificate; stays where it is made, because its signer refers to it.
struct SoftwareCa {
  SoftwareCa(EvpPkeyPtr own_key, Certificate own_certificate)
      : key(std::move(own_key)),
        certificate(std::move(own_certificate)),
        signer{.key = key.get(),
               .public_key = certificate.public_key(),
               .facts = IssuerFacts::of(certificate),
               .certificate = certificate} {}

  EvpPkeyPtr key;
  Certificate certificate;
  Signer signer;
};

inline SoftwareCa make_root(const std::string& name = "Fleet Root", unsigned path_length = 1,
                            KeyAlgorithm algorithm = KeyAlgorithm::p256) {
  EvpPkeyPtr key = software_key(algorithm);
  PublicKey public_key = PublicKey::from_evp(key.get());
  CertificatePlan plan = root_plan(name, public_key, path_length, kTestTime);
  IssuerFacts facts = IssuerFacts::self_signed(plan);
  Certificate certificate = Certificate::from_der(
      sign(lint(encode_tbs(plan, facts, SerialNumber::random()), plan, facts), key.get(), public_key));
  return {std::move(key), std::move(certificate)};
}

inline Certificate certificate_under(const SoftwareCa& issuer, const CertificatePlan& plan) {
  const IssuerFacts& facts = issuer.signer.facts;
  return Certificate::from_der(sign(lint(encode_tbs(plan, facts, SerialNumber::random()), plan, facts),
                                    issuer.signer.key, issuer.signer.public_key));
}

inline SoftwareCa make_issuing(const SoftwareCa& root, const std::string& name = "Factory CA",
                               KeyAlgorithm algorithm = KeyAlgorithm::p256) {
  EvpPkeyPtr key = software_key(algorithm);
  Certificate certificate =
      certificate_under(root, issuing_plan(name, PublicKey::from_evp(key.get()), kTestTime));
  return {std::move(key), std::move(certificate)};
}

inline PublicKey software_public_key(KeyAlgorithm algorithm = KeyAlgorithm::p256) {
  return PublicKey::from_evp(software_key(algorithm).get());
}

inline std::string_view shipped_profile_text(std::string_view name) {
  for (const ShippedProfile& shipped : kShippedProfiles) {
    if (shipped.file_name == std::string(name) + ".toml") return shipped.toml;
  }
  ADD_FAILURE() << "there is no shipped profile " << name;
  return "";
}

inline Profile shipped_profile(std::string_view name) {
  return Profile::parse(shipped_profile_text(name), std::string(name) + ".toml");
}

inline DeviceRecord device_record(const std::string& id, std::map<std::string, std::string> columns = {}) {
  return {.id = DeviceId::parse(id), .columns = std::move(columns)};
}

inline CertificateRequest request_for(const std::string& device_id, const EvpPkeyPtr& key,
                                      std::string_view statement = {}) {
  return CertificateRequest::create(device_id, PublicKey::from_evp(key.get()), key.get(), statement);
}

}  // namespace fleetroot::ca
