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
#include "lib/cmp/refusal.h"
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
  // Steps 3 to 9 of a request (docs/issuance-cycle.md). Throws Error to refuse; what it says travels to the
  // station. The same request may come again under the same or another transaction ID, after an answer was
  // lost: it must give the same certificate again, not another one.
  virtual Issued issue(const Sender& sender, const CertificateRequest& request, BytesView transaction_id) = 0;
  // The station reports that the certificate sits in the hardware, or that it could not use it.
  virtual void confirm(const Sender& sender, const Certificate& certificate, bool accepted) = 0;
};

class Responder {
 public:
  struct Signer {
    Certificate certificate;
    EVP_PKEY* key;  // not owned
  };
  // What time-outs are measured with.
  using Now = std::function<std::chrono::steady_clock::time_point()>;

  // Transactions that wait for their certConf; the oldest one goes when another comes, and none stays longer.
  // A station whose transaction is gone sends its request again and gets the same certificate.
  static constexpr std::size_t kMaximumTransactions = 1000;
  static constexpr std::chrono::minutes kTransactionTimeout{10};

  // `authority` must outlive the responder. Error(configuration) for an Ed25519 signer, which OpenSSL 3.0's
  // CMP cannot use.
  Responder(Signer signer, Authority& authority, Now now = std::chrono::steady_clock::now);
  ~Responder();

  // The answer to one PKIMessage: always a PKIMessage, signed by the CA; a refusal is an answer too.
  // Throws Error(protocol) for bytes that are no PKIMessage at all, and Error(internal) if the CA's own key
  // does not sign, because then there is no answer that anybody could believe.
  Bytes respond(BytesView message);

 private:
  struct Incoming;
  struct Transaction;
  // Whose transaction, and which one: a station cannot touch another's by using its transaction ID.
  using TransactionKey = std::pair<Bytes, Bytes>;

  Bytes begin(const Incoming& incoming);
  Bytes finish(const Incoming& incoming);
  Bytes refuse(const Incoming& incoming, const Error& error) const;
  void drop_expired();
  void drop_oldest_if_full();

  Signer signer_;
  Authority& authority_;
  Now now_;
  std::map<TransactionKey, std::unique_ptr<Transaction>> transactions_;
};

}  // namespace fleetroot::cmp
