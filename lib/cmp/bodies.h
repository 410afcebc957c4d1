// The bodies of the PKIMessages that a certificate is asked for, given, renewed, confirmed and revoked with:
// p10cr, cp, kur, kup, certConf, pkiConf, rr, rp and error (RFC 4210 section 5.3, RFC 9483 sections 4.1 and
// 4.2). What reads them throws Error(protocol) for anything else.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/x509/public_key.h"
#include "lib/x509/revocation_reason.h"
#include "lib/x509/serial_number.h"

namespace fleetroot::cmp {

// RFC 4210 section 5.2.3; others keep their number.
enum class Status : int { accepted = 0, granted_with_modifications = 1, rejection = 2, waiting = 3 };

// Bits of a PKIFailureInfo, which other implementations look at; ours read the code in the text.
enum class Failure : unsigned {
  bad_message_check = 1,
  bad_request = 2,
  incorrect_data = 7,
  bad_proof = 9,
  bad_recipient_nonce = 18,
  transaction_id_in_use = 21,
  unsupported_version = 22,
  not_authorised = 23,
  unavailable = 24,
  system_failure = 25
};

struct StatusInfo {
  Status status = Status::accepted;
  std::vector<std::string> texts;
  std::optional<Failure> failure;  // the first, where there are several

  bool is_acceptance() const {
    return status == Status::accepted || status == Status::granted_with_modifications;
  }
};

StatusInfo rejection(std::string text, Failure failure);

// A cp or kup with one response; the certificate is absent where the status says so.
struct CertificateResponse {
  // RFC 9483 section 4.1.4 wants -1 after a p10cr. OpenSSL 3.0 sends 0 and takes nothing below, and everybody
  // else takes what comes: so we send 0, and give back what we got.
  int request_id = 0;
  StatusInfo status;
  Bytes certificate;
  std::vector<BytesView> publications;  // caPubs; views into what was read
};
Bytes encode(const CertificateResponse& response);
CertificateResponse parse_certificate_response(BytesView body);

struct CertificateConfirmation {
  int request_id = 0;
  Bytes hash;
  StatusInfo status;
};
Bytes encode(const CertificateConfirmation& confirmation);
// Nothing for the confirmation of nothing, which rejects everything (RFC 4210 section 5.3.18).
std::optional<CertificateConfirmation> parse_certificate_confirmation(BytesView body);

// What one CA gave one certificate.
struct CertificateName {
  Bytes issuer;  // Name, as DER
  SerialNumber serial;
};

// A kur: the next certificate of whoever signs the message (RFC 4211; RFC 9483 section 4.1.3).
struct KeyUpdateRequest {
  int request_id = 0;
  Bytes subject;  // Name, as DER; empty where the request leaves it to the CA
  PublicKey public_key;
  std::optional<CertificateName> replaces;  // oldCertID
};
// `key`, not owned, is the private half of the public key, and signs the proof that the sender has it.
Bytes encode(const KeyUpdateRequest& request, EVP_PKEY* key);
// Error(bad_request) where that proof is not there or does not verify, or the key is none of ours.
KeyUpdateRequest parse_key_update_request(BytesView body);

// Which certificate shall be revoked, and why.
struct RevocationRequest {
  CertificateName certificate;
  RevocationReason reason = RevocationReason::unspecified;
};
RevocationRequest parse_revocation_request(BytesView body);
// An rp with this one status.
Bytes encode_revocation_response(const StatusInfo& status);

// The content of an error message is its status; the details of others are added to its texts.
Bytes encode_error(const StatusInfo& status);
StatusInfo parse_error(BytesView body);

// The one body of a pkiConf.
Bytes encode_confirmed();

// The hash by which a certificate is confirmed: the one that its own signature uses (RFC 4210
// section 5.3.18). Error(protocol) for a certificate whose signature we do not know.
Bytes certificate_hash(BytesView certificate);

}  // namespace fleetroot::cmp
