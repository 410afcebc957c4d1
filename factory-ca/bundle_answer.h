// Answers request bundles from removable media: each of their requests takes the nine steps of every other
// (docs/issuance-cycle.md), the station's signature over its PKIMessage included.
#pragma once

#include <functional>

#include "factory-ca/bundle_check.h"
#include "factory-ca/home.h"
#include "factory-ca/issuer.h"
#include "lib/base/files.h"
#include "lib/media/response_bundle.h"

namespace fleetroot::ca {

// How many of how many requests are decided. Called from several threads, one at a time.
using Progress = std::function<void(std::size_t done, std::size_t all)>;

struct AnsweredBundle {
  ReceivedBundle received;
  Bytes reply;
  // It had been answered before, and this is the same reply.
  bool is_replay = false;
  std::size_t certificates = 0;
  std::size_t refusals = 0;
  // Of those that came, the ones about a certificate that this ledger has.
  std::size_t receipts_taken = 0;
};

// One at a time for a home: it holds a lock there. One thread. Refers to all, owns none.
class BundleAnswers {
 public:
  BundleAnswers(const Home& home, Ledger& ledger, const Signer& signer, const Certificate& issuing,
                Issuer& issuer, const Clock& clock, bool accept_expired = false);

  // A bundle that was answered before gets the same bytes again. Throws Error to refuse the whole bundle,
  // with nothing changed: as receive_bundle() and refuse_unless_next() and refuse_if_expired() say, and
  // Error(io) if an earlier reply is no longer there. After a crash at any moment the same call goes on: what
  // the ledger holds is not decided again, and no reply is ever handed out that is not on record.
  AnsweredBundle answer(BytesView document, const Progress& progress);

 private:
  Bytes earlier_reply(const BundleRecord& record) const;
  std::vector<media::Answer> decide_all(const ReceivedBundle& bundle, const Progress& progress);
  Task<media::Answer> decide(const media::CarriedRequest& request, const ReceivedBundle& bundle);
  std::string reply_to(const ReceivedBundle& bundle, std::vector<media::Answer> answers) const;
  std::size_t record(const ReceivedBundle& bundle, const std::string& reply_digest);
  std::optional<CertificateRecord> certificate_of(const media::Receipt& receipt,
                                                  const std::string& station) const;
  std::size_t count_taken(const ReceivedBundle& bundle) const;
  bool take_receipt(const media::Receipt& receipt, const std::string& station, Time now);

  const Home& home_;
  Ledger& ledger_;
  const Signer& signer_;
  Certificate issuing_;
  Issuer& issuer_;
  const Clock& clock_;
  bool accept_expired_;
  FileDescriptor lock_;
};

}  // namespace fleetroot::ca
