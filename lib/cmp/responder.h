// The CA's side of CMP: takes PKIMessages, finds who signed them, asks the authority, and answers. It owns
// the open transactions between a p10cr and its certConf, bounded in number and time, and nothing else. No
// transport here. One thread.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/x509/certificate.h"
#include "lib/x509/certificate_request.h"

namespace fleetroot::cmp {

// A certificate that may sign requests, and the name it acts under.
struct Sender {
  std::string name;
  Certificate certificate;
};

struct Issued {
  Certificate certificate;
  std::vector<Certificate> chain;  // issuing CA first, without the certificate itself
};

// The policy behind the protocol; the factory CA implements it.
class Authority {
 public:
  virtual ~Authority() = default;
  // The enrolled sender whose certificate has this subject key identifier. Throws Error(not_authorised) when
  // it is unknown, revoked or expired.
  virtual Sender authenticate(BytesView sender_key_id) = 0;
  // Steps 3 to 9 of a request (DESIGN.md section 4). Throws Error to refuse; what it says travels to the
  // station.
  virtual Issued issue(const Sender& sender, const CertificateRequest& request, BytesView transaction_id) = 0;
  // The station reports that the certificate sits in the hardware, or that it could not use it.
  virtual void confirm(const Sender& sender, const Certificate& certificate, bool accepted) = 0;
};

// How a refusal travels: PKIFreeText "sentence. hint [code]". Pure functions, so that both sides agree.
std::string encode_refusal(const Error& error);
Error decode_refusal(const std::string& text);

class Responder {
 public:
  struct Signer {
    Certificate certificate;
    EVP_PKEY* key;  // not owned
  };
  Responder(Signer signer, Authority& authority);
  ~Responder();

  // The answer to one PKIMessage: always a PKIMessage, signed by the CA; a refusal is an answer too.
  // Throws only Error(protocol), for bytes that are no PKIMessage at all.
  Bytes respond(BytesView message);

 private:
  struct Transaction;
  Signer signer_;
  Authority& authority_;
  std::map<Bytes, std::unique_ptr<Transaction>> transactions_;
};

}  // namespace fleetroot::cmp
