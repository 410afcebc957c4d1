// One CMP transaction from the side that wants a certificate: p10cr, cp, certConf, pkiConf (RFC 9483
// section 4.1.4), or kur, kup, certConf, pkiConf (section 4.1.3), every message signed.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/cmp/bodies.h"
#include "lib/cmp/exchange.h"
#include "lib/cmp/wire.h"
#include "lib/x509/certificate.h"
#include "lib/x509/certificate_request.h"

namespace fleetroot::cmp {

// Sends one PKIMessage and returns the answer. Throws Error (ca_unreachable, protocol).
using Transfer = std::function<Bytes(BytesView)>;

// The certificate that came back, with whatever else the CA sent to complete its chain. The chain is not
// covered by the CA's signature (RFC 4210 section 5.1): trust no more of it than a pinned root vouches for.
struct Enrolled {
  Certificate certificate;
  std::vector<Certificate> chain;
};

// Called with the CA's answer before it is confirmed. Returns if the certificate is good and sits where it
// belongs; throws otherwise. The CA is told that the certificate was rejected where that is what is thrown
// (certificate_rejected), and nothing where another try may still write it.
using Accept = std::function<void(const Enrolled&)>;

struct Identity {
  Certificate certificate;
  std::vector<Certificate> chain;
  EVP_PKEY* key;  // not owned
};

class Client {
 public:
  // The answer must be signed by exactly `ca`: it is pinned. One object serves one transaction at a time.
  // Error(configuration) for a station with an Ed25519 key.
  Client(Identity station, Certificate ca, Transfer transfer);

  // A refusal becomes the Error that the CA worded (code, message, hint); see responder.h for how it travels.
  // An exception from `transfer` or `accept` passes through unchanged.
  // A lost or refused pkiConf does not undo what accept() did: it throws ca_unreachable, and the same call
  // again is right. Otherwise: protocol if the answer is not the pinned CA's or breaks the rules,
  // configuration if the CA wants to be polled (RFC 4210 section 5.3.22) or the station's key does not sign.
  Enrolled enroll(const CertificateRequest& request, const Accept& accept);

  // The next certificate of the station, for the key that it has. Throws as enroll() does.
  Enrolled renew(const Accept& accept);

 private:
  // What must be known to believe the answer.
  struct PendingRequest {
    Bytes message;  // to be sent, again and again the same
    Exchange exchange;
    Bytes public_key;  // the SubjectPublicKeyInfo that was asked for
  };
  struct Answer;
  friend Bytes request_message(const Identity& station, const Certificate& ca,
                               const CertificateRequest& request);

  PendingRequest begin(const CertificateRequest& request) const;
  PendingRequest begin(BodyType type, const std::function<Bytes()>& body, Bytes public_key) const;
  Enrolled finish(const PendingRequest& pending, BodyType answer_type, const Accept& accept);
  Answer read_answer(const PendingRequest& pending, BytesView bytes) const;
  Enrolled certificates_in(const Answer& answer) const;
  std::optional<Error> confirm(const Answer& answer, const StatusInfo& outcome) const;
  void confirm_anew(const PendingRequest& pending, const Answer& first, const Error& reason) const;
  void reject(const Answer& answer, std::string why) const;

  Identity station_;
  MessageSigner signer_;
  Certificate ca_;
  PublicKey ca_key_;
  Transfer transfer_;
};

// The p10cr alone, for a CA that is asked by post. Error(configuration) as enroll().
Bytes request_message(const Identity& station, const Certificate& ca, const CertificateRequest& request);

}  // namespace fleetroot::cmp
