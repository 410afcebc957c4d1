// Nothing is signed that was not linted. lint() takes the exact bytes that will be signed, reads them back
// with OpenSSL, and holds them against the plan, the issuer and RFC 5280. What passes becomes a
// LintedCertificate, the only thing that sign() accepts; nobody else can make one.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "factory-ca/certificate_plan.h"

namespace fleetroot::ca {

class LintedCertificate {
 public:
  LintedCertificate(LintedCertificate&&) noexcept = default;
  LintedCertificate& operator=(LintedCertificate&&) noexcept = default;
  LintedCertificate(const LintedCertificate&) = delete;
  LintedCertificate& operator=(const LintedCertificate&) = delete;

  const Bytes& tbs() const { return tbs_; }
  KeyAlgorithm signature_algorithm() const { return algorithm_; }
  const SerialNumber& serial() const { return serial_; }
  Time not_before() const { return not_before_; }
  Time not_after() const { return not_after_; }

 private:
  friend LintedCertificate lint(Bytes tbs, const CertificatePlan& plan, const IssuerFacts& issuer);
  LintedCertificate(Bytes tbs, KeyAlgorithm algorithm, SerialNumber serial, const CertificatePlan& plan)
      : tbs_(std::move(tbs)),
        algorithm_(algorithm),
        serial_(std::move(serial)),
        not_before_(plan.not_before),
        not_after_(plan.not_after) {}

  Bytes tbs_;
  KeyAlgorithm algorithm_;
  SerialNumber serial_;
  Time not_before_;
  Time not_after_;
};

// Throws the first rule that is broken: Error(configuration) where the profile or the issuer is at fault,
// Error(internal) where the bytes are not what was planned.
LintedCertificate lint(Bytes tbs, const CertificatePlan& plan, const IssuerFacts& issuer);

// A certificate as the rules see it.
struct LintCase {
  BytesView tbs;
  const Certificate& certificate;
  const CertificatePlan& plan;
  const IssuerFacts& issuer;
};

struct LintRule {
  std::string_view name;
  std::string_view reference;
  ErrorCode blame;
  // What is wrong; empty if nothing is.
  std::string (*reason)(const LintCase&);
};
std::span<const LintRule> lint_rules();

// SEQUENCE { tbs, algorithm, signature }
Bytes assemble_certificate(BytesView tbs, KeyAlgorithm algorithm, BytesView signature);

}  // namespace fleetroot::ca
