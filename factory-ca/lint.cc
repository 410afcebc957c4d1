#include "factory-ca/lint.h"

#include <fmt/format.h>

#include "lib/x509/der.h"

namespace fleetroot::ca {

LintedCertificate lint(Bytes tbs, const CertificatePlan& plan, const IssuerFacts& issuer) {
  // The bytes that will be signed, in a certificate that nobody will ever trust: no rule looks at the
  // signature.
  const Bytes no_signature(64, 0x5a);
  Certificate certificate =
      Certificate::fields_from_der(assemble_certificate(tbs, issuer.algorithm, no_signature));
  LintCase lint_case{.tbs = tbs, .certificate = certificate, .plan = plan, .issuer = issuer};
  for (const LintRule& rule : lint_rules()) {
    std::string reason = rule.reason(lint_case);
    if (reason.empty()) continue;
    throw Error(rule.blame, fmt::format("the certificate would break the rule {}: {}", rule.name, reason),
                rule.blame == ErrorCode::configuration
                    ? "correct the profile, or have a new issuing CA certificate made"
                    : "keep this message and report it; nothing was signed",
                std::string(rule.reference));
  }
  SerialNumber serial = certificate.serial();
  return {std::move(tbs), issuer.algorithm, std::move(serial), plan};
}

Bytes assemble_certificate(BytesView tbs, KeyAlgorithm algorithm, BytesView signature) {
  return der::sequence({tbs, signature_algorithm_of(algorithm), der::bit_string(signature)});
}

}  // namespace fleetroot::ca
