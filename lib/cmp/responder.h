// The CA's side of CMP (RFC 9483 sections 4.1.3, 4.1.4 and 4.2): takes PKIMessages, finds who signed them,
// asks the authority, and answers. It owns the open transactions between a request (p10cr, kur) and its
// certConf, bounded in number and time, and nothing else. No transport here.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/task.h"
#include "lib/cmp/bodies.h"
#include "lib/cmp/refusal.h"
#include "lib/cmp/wire.h"
#include "lib/x509/certificate.h"
#include "lib/x509/certificate_request.h"

namespace fleetroot::cmp {

// A certificate that may sign requests, and the name it acts under.
struct Sender {
  std::string name;
  Certificate certificate;
  PublicKey key = certificate.public_key();
};

struct Issued {
  Bytes certificate;               // DER
  std::vector<Certificate> chain;  // issuing CA first, without the certificate itself
};

// The authority has taken notice.
struct Confirmed {};

// The policy behind the protocol; the factory CA implements it.
class Authority {
 public:
  virtual ~Authority() = default;
  // The enrolled sender whose certificate has this subject key identifier. Throws Error(not_authorised) when
  // it is unknown, revoked or expired.
  virtual Sender authenticate(BytesView sender_key_id) = 0;
  // The same, by a certificate whose key the sender has proven to a registration authority.
  virtual Sender recognise(const Certificate& certificate) = 0;
  // Steps 3 to 9 of a request (docs/issuance-cycle.md). Throws Error to refuse; what it says travels to the
  // station. The same request may come again under the same or another transaction ID, after an answer was
  // lost: it must give the same certificate again, not another one. `made`: when, as the protected message
  // says, if it does. `label` is what answer() was given.
  virtual Task<Issued> issue(const Sender& sender, const CertificateRequest& request,
                             std::optional<Time> made, std::string_view label) = 0;
  // The sender's own next certificate, for `key`. Throws Error to refuse. As issue(): the same again, where
  // the answer was lost. `replaces`: the certificate that the sender takes for its present one, if it says.
  virtual Issued renew(const Sender& sender, const PublicKey& key,
                       const std::optional<CertificateName>& replaces) = 0;
  // The station reports that the certificate sits in the hardware, or that it could not use it.
  virtual Task<Confirmed> confirm(const Sender& sender, const Certificate& certificate, bool accepted) = 0;
  // The station asks for a certificate's end. Throws Error to refuse; said twice, it changes nothing more.
  virtual void revoke(const Sender& sender, const RevocationRequest& request) = 0;
  // What is answered with a refusal, before it is: with its cause, which does not travel.
  virtual void failed(const Error& /*error*/) {}
};

// The request in a p10cr that `sender` has signed. Error(not_authorised) if it has not, Error(protocol) if it
// is no p10cr, Error(bad_request) if there is no request in it.
CertificateRequest signed_request(const Message& message, const Sender& sender);

// Any number of threads, if the authority takes them.
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
  Responder(const Signer& signer, Authority& authority, Now now = std::chrono::steady_clock::now);
  ~Responder();

  // From now on, whoever knows this secret is the registration authority, and may ask in any enrolled
  // sender's name (registration_authority.h). Before there are threads.
  void trust(std::string secret) { registration_secret_ = std::move(secret); }

  // The answer to one PKIMessage: always a PKIMessage, signed by the CA, or protected with the secret as the
  // request was; a refusal is an answer too.
  // Throws Error(protocol) for bytes that are no PKIMessage at all, and Error(token_untrusted) if the CA's
  // own key does not sign, because then there is no answer that anybody could believe. `label`: the operation
  // label in the path that the message came by (RFC 9811 section 3.3), for the authority. `peer`: the key
  // identifier of the sender that the transport has recognised, if it does; what another one has signed is
  // refused then.
  Task<Bytes> answer(BytesView message, std::string label = {}, Bytes peer = {});
  // The same, alone.
  Bytes respond(BytesView message, std::string label = {}) {
    return run_alone(answer(message, std::move(label)));
  }

 private:
  struct Transaction;
  // Who asked (by key identifier), and under which transaction ID: a station cannot touch another's by using
  // its transaction ID.
  using TransactionKey = std::pair<Bytes, Bytes>;
  using OpenTransaction = std::shared_ptr<const Transaction>;

  Task<Bytes> handle(const Message& message, BytesView bytes, std::string_view label, BytesView peer);
  Task<Bytes> begin(const Message& message, BytesView bytes, std::string_view label);
  Task<Bytes> issue_for_station(const Message& message, std::string_view label);
  Task<Bytes> finish(const Message& message);
  Bytes revoke(const Message& message);
  bool is_from_registration_authority(const Message& message) const;
  Sender sender_of(const Message& message);
  void refuse_unless_from(BytesView peer, const Message& message);
  Bytes refuse(const Message& message, const StatusInfo& status) const;
  Bytes encode_answer(const Message& message, Bytes nonce, BodyType type, BytesView body,
                      const std::vector<Certificate>& chain = {}) const;

  OpenTransaction find(const TransactionKey& key);
  OpenTransaction keep(Transaction transaction);
  bool close(const OpenTransaction& transaction);
  void drop_old();

  MessageSigner signer_;
  Authority& authority_;
  Now now_;
  std::optional<std::string> registration_secret_;
  std::mutex mutex_;  // guards what follows
  std::list<OpenTransaction> by_age_;
  std::map<TransactionKey, std::list<OpenTransaction>::iterator> by_key_;
};

}  // namespace fleetroot::cmp
