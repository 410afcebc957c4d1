// The certificates of the CAs themselves, and of stations: what they say, how a brought-along one is judged,
// and how one is issued with a durable record before and after the signature.
#pragma once

#include <functional>
#include <string>

#include "factory-ca/certificate_plan.h"
#include "factory-ca/ledger.h"
#include "factory-ca/profile.h"
#include "lib/x509/certificate.h"

namespace fleetroot::ca {

// A key that signs certificates, its certificate and what of it goes into others.
struct Signer {
  EVP_PKEY* key;  // not owned
  PublicKey public_key;
  IssuerFacts facts;
  std::optional<Certificate> certificate{};  // none while it signs its own
};

// A root has no expiry and no extended key usage: with one that lacks clientAuth, OpenSSL refuses every
// device below it. path_length: 1 with issuing CAs below, 0 if it signs devices itself.
CertificatePlan root_plan(const std::string& common_name, const PublicKey& key, unsigned path_length,
                          Time now);
// No expiry, because certificates below it may have none; digitalSignature, because it signs CMP answers.
CertificatePlan issuing_plan(const std::string& common_name, const PublicKey& key, Time now);
// digitalSignature, and the extended key usage of a registration authority (id-kp-cmcRA, RFC 6402) alone: a
// gateway that takes any client certificate below the Fleet Root for a device must not take a station for
// one.
CertificatePlan station_plan(const std::string& station, const PublicKey& key, Time now, Time not_after);

// serverAuth alone, for the names that stations call the server by.
CertificatePlan server_plan(const std::string& common_name, const std::vector<std::string>& names,
                            const PublicKey& key, Time now, Time not_after);

// Reserve, sign, commit (docs/issuance-cycle.md, steps 6 to 9) for a subject that is no device. The same
// subject with the same key gets the same certificate again. Error(device_has_certificate) if it has one for
// another key, Error(key_reused) if the key belongs to another subject, Error(configuration) if the signer's
// own certificate is revoked, also while it signs: then the reservation stays, for nobody. What
// `once_allowed` changes becomes durable with the reservation, before there is a certificate.
Certificate certify(Ledger& ledger, const Signer& signer, SubjectKind kind, const std::string& subject,
                    const CertificatePlan& plan, const Clock& clock,
                    const std::function<void()>& once_allowed = {});

// A station's next certificate, for the key that it has, once half of the current one's life is over; before
// that, and said twice, the current one. The old one is superseded in the transaction that commits the new.
// It lives as long as `validity` says now. Error(not_authorised) if it has none for this key,
// Error(configuration) as for certify(), Error(clock) as Ledger::time_of_issue() says.
Certificate renew_station(Ledger& ledger, const Signer& signer, const std::string& station,
                          const PublicKey& key, const Validity& validity, const Clock& clock);

// Inside a WriteTransaction: puts an issuing CA's own certificate on record as issued, with the log entry
// that says so, in the ledger of a home whose root is elsewhere: so that it can be revoked there, too.
CertificateRecord record_own(Ledger& ledger, const Certificate& issuing, Time now);

// Whether these can be a factory's: both CAs, the root self-signed, sound keys and signatures, in time, with
// the usages that the work needs and none that OpenSSL refuses device certificates for, and no limits for
// names below. Error(certificate_rejected) says which of it fails, Error(clock) that one is from later than
// now. The same certificate twice is a single tier.
void refuse_unless_usable(const Certificate& root, const Certificate& issuing, Time now);
// Error(configuration) once this ledger has the CA's own certificate as revoked: nothing more is signed under
// it but lists.
void refuse_if_revoked(Ledger& ledger, const Certificate& issuing);
// An offline root need not: it does without a list of the issuing CAs that it revokes.
bool may_sign_lists(const Certificate& certificate);

}  // namespace fleetroot::ca
