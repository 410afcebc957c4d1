#include "factory-ca/authority.h"

#include <fmt/format.h>

#include "factory-ca/issuing_key.h"
#include "factory-ca/later_life.h"
#include "lib/x509/chain.h"

namespace fleetroot::ca {
namespace {

constexpr const char* kRegistrationAuthority = "1.3.6.1.5.5.7.3.28";
constexpr std::uint16_t kAuthorityUsage = kKeyCertSign | kCrlSign | kDigitalSignature;

CertificatePlan authority_plan(const std::string& common_name, const PublicKey& key, unsigned path_length,
                               Time now) {
  return {.subject = {{NameAttributeType::common_name, common_name}},
          .public_key = key,
          .not_before = now,
          .not_after = kNoExpiry,
          .key_usage = kAuthorityUsage,
          .extended_key_usage = {},
          .hardware_module = {},
          .is_ca = true,
          .path_length = path_length};
}

CertificateRecord record_of(const LintedCertificate& linted, const Signer& signer, SubjectKind kind,
                            const std::string& subject, const CertificatePlan& plan,
                            const std::optional<CertificateRecord>& predecessor) {
  return {.serial = linted.serial().hex(),
          .kind = kind,
          .subject = subject,
          .order = {},
          .sender = "operator",
          .profile = std::string(name_of(kind)),
          .profile_digest = {},
          .issuer_key_id = to_hex(signer.facts.key_identifier),
          .public_key = plan.public_key.fingerprint(),
          .key_algorithm = std::string(name_of(plan.public_key.algorithm())),
          .key_id = to_hex(key_identifier_of(plan.public_key)),
          .not_before = linted.not_before(),
          .not_after = linted.not_after(),
          .tbs = linted.tbs(),
          .certificate = {},
          .statement = {},
          .generation = predecessor ? predecessor->generation + 1 : 1,
          .supersedes = predecessor ? predecessor->serial : ""};
}

// The certificate that this subject already has for this key.
std::optional<Certificate> issued_before(Ledger& ledger, SubjectKind kind, const std::string& subject,
                                         const PublicKey& key) {
  std::optional<CertificateRecord> own = ledger.certificates.live(kind, subject);
  // Nobody has ever seen what a reservation was for, and whoever made it is gone.
  if (own && own->state == CertificateState::reserved) {
    ledger.certificates.abandon(own->serial);
    own.reset();
  }
  if (own && own->public_key != key.fingerprint()) {
    throw Error(ErrorCode::device_has_certificate,
                fmt::format("{} {} has a certificate for another key", name_of(kind), subject),
                "revoke that one first, or choose another name");
  }
  if (own) return Certificate::from_der(own->certificate);
  std::optional<CertificateRecord> known = ledger.certificates.with_public_key(key.fingerprint());
  bool is_own_reservation = known && known->state == CertificateState::abandoned && known->kind == kind &&
                            known->subject == subject;
  if (known && !is_own_reservation) {
    throw Error(ErrorCode::key_reused,
                fmt::format("this key belongs to {} {}", name_of(known->kind), known->subject),
                "make a new key: one key belongs to one subject, for ever");
  }
  return std::nullopt;
}

[[noreturn]] void reject(const Certificate& certificate, std::string_view why, std::string hint) {
  throw Error(ErrorCode::certificate_rejected, fmt::format("{} {}", certificate.subject(), why),
              std::move(hint));
}

void refuse_unless_authority(const Certificate& certificate, Time now) {
  try {
    (void)certificate.public_key();
  } catch (const Error& error) {
    reject(certificate, "cannot be a CA's: " + error.message(), error.hint());
  }
  if (!certificate.is_ca()) {
    reject(certificate, "is not the certificate of a CA", "basicConstraints must say CA:TRUE");
  }
  constexpr std::uint32_t kNeeded = KU_KEY_CERT_SIGN;
  if ((X509_get_key_usage(certificate.x509()) & kNeeded) != kNeeded) {
    reject(certificate, "may not sign certificates", "its keyUsage must have keyCertSign");
  }
  if (certificate.subject_key_identifier().empty()) {
    reject(certificate, "has no subject key identifier", "have it made again with one");
  }
  if (now < certificate.not_before()) {
    throw Error(ErrorCode::clock,
                fmt::format("this machine's clock says {}, and {} is not valid before {}", format_time(now),
                            certificate.subject(), format_time(certificate.not_before())),
                "set the clock right, here or where the certificate was made");
  }
  if (now > certificate.not_after()) {
    reject(certificate, "is not valid any more",
           "check this machine's clock, or have the certificate renewed");
  }
  bool has_usages = X509_get_ext_by_NID(certificate.x509(), NID_ext_key_usage, -1) >= 0;
  if (has_usages && !certificate.has_extended_key_usage(NID_client_auth) &&
      !certificate.has_extended_key_usage(NID_anyExtendedKeyUsage)) {
    reject(certificate,
           "has an extendedKeyUsage without clientAuth: OpenSSL refuses every device certificate below it",
           "have it made again without extendedKeyUsage, or with clientAuth in it");
  }
  // OpenSSL applies a root's, too.
  if (X509_get_ext_by_NID(certificate.x509(), NID_name_constraints, -1) >= 0) {
    reject(certificate,
           "limits the names below it (nameConstraints): verifiers refuse devices and stations with others",
           "have it made again without nameConstraints");
  }
}

}  // namespace

CertificatePlan root_plan(const std::string& common_name, const PublicKey& key, unsigned path_length,
                          Time now) {
  return authority_plan(common_name, key, path_length, now);
}

CertificatePlan issuing_plan(const std::string& common_name, const PublicKey& key, Time now) {
  return authority_plan(common_name, key, 0, now);
}

CertificatePlan station_plan(const std::string& station, const PublicKey& key, Time now, Time not_after) {
  return {.subject = {{NameAttributeType::common_name, station}},
          .public_key = key,
          .not_before = now,
          .not_after = not_after,
          .key_usage = kDigitalSignature,
          .extended_key_usage = {kRegistrationAuthority},
          .hardware_module = {},
          .is_ca = false,
          .path_length = {}};
}

CertificatePlan server_plan(const std::string& common_name, const std::vector<std::string>& names,
                            const PublicKey& key, Time now, Time not_after) {
  return {.subject = {{NameAttributeType::common_name, common_name}},
          .public_key = key,
          .not_before = now,
          .not_after = not_after,
          .key_usage = kDigitalSignature,
          .extended_key_usage = {kServerAuth},
          .hardware_module = {},
          .server_names = names,
          .is_ca = false,
          .path_length = {}};
}

Certificate certify(Ledger& ledger, const Signer& signer, SubjectKind kind, const std::string& subject,
                    const CertificatePlan& plan, const Clock& clock,
                    const std::function<void()>& once_allowed) {
  LintedCertificate linted = lint(encode_tbs(plan, signer.facts, SerialNumber::random()), plan, signer.facts);
  std::string serial = linted.serial().hex();
  {
    WriteTransaction transaction = ledger.write();
    if (signer.certificate) refuse_if_revoked(ledger, *signer.certificate);
    std::optional<Certificate> before = issued_before(ledger, kind, subject, plan.public_key);
    if (!before) {
      Standing standing = ledger.certificates.standing(kind, subject);
      ledger.certificates.reserve(record_of(linted, signer, kind, subject, plan, standing.revoked));
    }
    if (once_allowed) once_allowed();
    transaction.commit();
    if (before) return *before;
  }
  Certificate certificate = Certificate::from_der(sign(std::move(linted), signer.key, signer.public_key));
  Time now = std::max(clock.now(), plan.not_before);
  WriteTransaction transaction = ledger.write();
  if (signer.certificate) refuse_if_revoked(ledger, *signer.certificate);
  if (!ledger.certificates.commit(serial, certificate.der(), now)) {
    throw Error(ErrorCode::busy, fmt::format("{} is being certified by another process", subject),
                "run the same command again");
  }
  ledger.log.append(fmt::format("{}.certified", name_of(kind)), now,
                    {{"subject", subject}, {"serial", serial}, {"certificate", certificate.fingerprint()}});
  transaction.commit();
  return certificate;
}

Certificate renew_station(Ledger& ledger, const Signer& signer, const std::string& station,
                          const PublicKey& key, const Validity& validity, const Clock& clock) {
  Time begun = ledger.time_of_issue(clock);
  std::optional<CertificateRecord> current;
  std::optional<LintedCertificate> linted;
  CertificateRecord next;
  {
    WriteTransaction transaction = ledger.write();
    if (signer.certificate) refuse_if_revoked(ledger, *signer.certificate);
    Standing standing = ledger.certificates.standing(SubjectKind::station, station);
    current = std::move(standing.issued);
    if (!current || current->public_key != key.fingerprint()) {
      throw Error(ErrorCode::not_authorised,
                  fmt::format("station {} has no certificate for this key", station),
                  "a station renews with the key that it has; enroll a new key: fleetroot-ca station enroll");
    }
    Time::duration life = current->not_after - current->not_before;
    if (begun < current->not_before + life / 2) return Certificate::from_der(current->certificate);

    CertificatePlan plan =
        station_plan(station, key, begun, std::min(validity.end(begun), signer.facts.not_after));
    linted = lint(encode_tbs(plan, signer.facts, SerialNumber::random()), plan, signer.facts);
    next = record_of(*linted, signer, SubjectKind::station, station, plan, current);
    next.renewal = current->renewal + 1;
    if (standing.reserved) ledger.certificates.abandon(standing.reserved->serial);
    ledger.certificates.reserve(next);
    transaction.commit();
  }
  Certificate certificate = Certificate::from_der(sign(*std::move(linted), signer.key, signer.public_key));
  Time now = std::max(clock.now(), begun);
  WriteTransaction transaction = ledger.write();
  if (signer.certificate) refuse_if_revoked(ledger, *signer.certificate);
  Standing still = ledger.certificates.standing(SubjectKind::station, station);
  bool is_overtaken = !still.issued || still.issued->serial != current->serial;
  if (!is_overtaken) revoke_and_log(ledger, *current, RevocationReason::superseded, now);
  if (is_overtaken || !ledger.certificates.commit(next.serial, certificate.der(), now)) {
    throw Error(ErrorCode::busy, fmt::format("station {} is being renewed by another process", station),
                "run the same command again");
  }
  ledger.log.append("station.renewed", now,
                    {{"subject", station},
                     {"serial", next.serial},
                     {"supersedes", next.supersedes},
                     {"certificate", certificate.fingerprint()}});
  transaction.commit();
  return certificate;
}

CertificateRecord record_own(Ledger& ledger, const Certificate& issuing, Time now) {
  PublicKey key = issuing.public_key();
  std::string serial = issuing.serial().hex();
  // Another root may have certified it before.
  std::optional<CertificateRecord> before = ledger.certificates.with_public_key(key.fingerprint());
  ledger.certificates.reserve({.serial = serial,
                               .kind = SubjectKind::authority,
                               .subject = issuing.subject(),
                               .order = {},
                               .sender = "operator",
                               .profile = std::string(name_of(SubjectKind::authority)),
                               .profile_digest = {},
                               .issuer_key_id = issuer_key_id_of(issuing),
                               .public_key = key.fingerprint(),
                               .key_algorithm = std::string(name_of(key.algorithm())),
                               .key_id = issuing.subject_key_identifier(),
                               .not_before = issuing.not_before(),
                               .not_after = issuing.not_after(),
                               .tbs = {},
                               .certificate = {},
                               .statement = {},
                               .renewal = before ? before->renewal + 1 : 0});
  (void)ledger.certificates.commit(serial, issuing.der(), now);
  ledger.log.append(
      "authority.recorded", now,
      {{"subject", issuing.subject()}, {"serial", serial}, {"certificate", issuing.fingerprint()}});
  return ledger.certificates.with_serial(serial).value();
}

void refuse_if_revoked(Ledger& ledger, const Certificate& issuing) {
  std::string serial = issuing.serial().hex();
  if (!ledger.certificates.is_revoked(serial)) return;
  CertificateRecord record = ledger.certificates.with_serial(serial).value();
  // Not by its bytes: a certificate has a second valid ECDSA signature, which takes no key to make.
  if (record.public_key != issuing.public_key().fingerprint()) return;
  bool is_root = issuing.subject() == issuing.issuer();
  throw Error(ErrorCode::configuration,
              fmt::format("the CA's own certificate, {}, was revoked at {} ({})", issuing.subject(),
                          record.revoked_at, name_of(record.revocation_reason)),
              is_root
                  ? "make another factory CA (fleetroot-ca init), and have the fleet trust its root; this "
                    "one signs revocation lists alone"
                  : "make another issuing CA under the Fleet Root (fleetroot-ca init --external-root); "
                    "this one signs revocation lists alone");
}

bool may_sign_lists(const Certificate& certificate) {
  return (X509_get_key_usage(certificate.x509()) & KU_CRL_SIGN) != 0;
}

void refuse_unless_usable(const Certificate& root, const Certificate& issuing, Time now) {
  refuse_unless_authority(root, now);
  refuse_unless_authority(issuing, now);
  if ((X509_get_key_usage(issuing.x509()) & KU_DIGITAL_SIGNATURE) == 0) {
    reject(issuing, "may not sign messages", "its keyUsage must have digitalSignature, for answers in CMP");
  }
  if (!may_sign_lists(issuing)) {
    reject(issuing, "may not sign revocation lists", "its keyUsage must have cRLSign, to revoke devices");
  }
  if (issuing.public_key().algorithm() == KeyAlgorithm::ed25519) {
    reject(issuing, "has an Ed25519 key, with which OpenSSL's CMP does not sign",
           "have it made again for a P-256, P-384 or RSA key");
  }
  if (!root.is_self_signed()) {
    reject(root, "is not signed by its own key, as a Fleet Root is",
           "name the self-signed certificate directly above the issuing CA as the Fleet Root");
  }
  if (issuing == root) return;
  if (X509_get_pathlen(root.x509()) == 0) {
    reject(root, "allows no issuing CA below it", "its path length must be 1 or more, or absent");
  }
  verify_chain(issuing, {.roots = {root}, .intermediates = {}, .purpose = ChainPurpose::any, .time = now});
}

}  // namespace fleetroot::ca
