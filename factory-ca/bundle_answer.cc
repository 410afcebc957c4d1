#include "factory-ca/bundle_answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "factory-ca/carried_request.h"
#include "lib/cmp/refusal.h"
#include "lib/media/signed_document.h"

namespace fleetroot::ca {
namespace {

namespace fs = std::filesystem;

// So many requests begin together.
constexpr std::size_t kTogether = 64;

fs::path media_directory(const Home& home) {
  fs::path path = home.file("media");
  if (!fs::exists(path)) make_private_directory(path);
  return path;
}

fs::path reply_file(const Home& home, const std::string& digest) {
  return home.file("media") / (digest + media::kResponseSuffix);
}

// A reply has an upper bound, and can do without a list.
std::optional<std::string> list_for_reply(const fs::path& path) {
  std::error_code absent;
  if (fs::file_size(path, absent) > kMaximumFileSize && !absent) return std::nullopt;
  return read_file_if_present(path);
}

void count(const std::vector<media::Answer>& answers, AnsweredBundle& answered) {
  for (const media::Answer& answer : answers)
    ++(answer.certificate ? answered.certificates : answered.refusals);
}

}  // namespace

BundleAnswers::BundleAnswers(const Home& home, Ledger& ledger, const Signer& signer,
                             const Certificate& issuing, Issuer& issuer, const Clock& clock,
                             bool accept_expired)
    : home_(home),
      ledger_(ledger),
      signer_(signer),
      issuing_(issuing),
      issuer_(issuer),
      clock_(clock),
      accept_expired_(accept_expired),
      lock_(lock_file(media_directory(home) / "lock")) {
  remove_leftovers(media_directory(home));
}

AnsweredBundle BundleAnswers::answer(BytesView document, const Progress& progress) {
  AnsweredBundle answered{.received = receive_bundle(document, ledger_, issuing_, clock_.now()), .reply = {}};
  const ReceivedBundle& bundle = answered.received;
  if (std::optional<BundleRecord> before = ledger_.bundles.with_digest(bundle.digest)) {
    answered.reply = earlier_reply(*before);
    answered.is_replay = true;
    std::string json = media::verify_document(answered.reply, {issuing_});
    count(media::ResponseBundle::parse(json).answers, answered);
    answered.receipts_taken = count_taken(bundle);
    return answered;
  }
  refuse_unless_next(bundle, ledger_);
  if (!accept_expired_) refuse_if_expired(bundle, clock_.now());
  std::vector<media::Answer> answers = decide_all(bundle, progress);
  count(answers, answered);
  answered.reply =
      media::sign_document(as_bytes(reply_to(bundle, std::move(answers))), issuing_, signer_.key);
  // On disk before it is on record, and on record before anybody sees it.
  write_file(reply_file(home_, bundle.digest), as_text(answered.reply), 0600);
  answered.receipts_taken = record(bundle, sha256_hex(answered.reply));
  return answered;
}

Bytes BundleAnswers::earlier_reply(const BundleRecord& record) const {
  fs::path path = reply_file(home_, record.digest);
  std::string reply = read_file(path, media::kMaximumDocumentSize);
  if (sha256_hex(as_bytes(reply)) != record.reply_digest) {
    throw Error(ErrorCode::io,
                fmt::format("{} is not the reply that was given to bundle {} of station {}", path.string(),
                            record.sequence, record.station),
                "restore the file from the back-up: a bundle is never answered twice differently");
  }
  return {reply.begin(), reply.end()};
}

// Many at a time, whose reservations and commits become durable together; one after the other where the
// order's places are short, so that the first ones get them. The first failure that is no answer ends it;
// what was decided by then is in the ledger.
std::vector<media::Answer> BundleAnswers::decide_all(const ReceivedBundle& bundle, const Progress& progress) {
  const std::vector<media::CarriedRequest>& requests = bundle.content.requests;
  std::vector<std::optional<media::Answer>> decided(requests.size());
  std::mutex mutex;  // guards what follows
  std::size_t begun = 0;
  std::size_t done = 0;
  std::exception_ptr failure;
  auto begin_some = [&](bool /*is_idle*/) {
    std::lock_guard lock(mutex);
    std::vector<GroupCommit::Job<media::Answer>> jobs;
    for (; !failure && begun < requests.size() && jobs.size() < kTogether; ++begun) {
      auto keep = [&, i = begun](Task<media::Answer>& task) {
        std::lock_guard keeping(mutex);
        try {
          decided[i] = task.take();
          progress(++done, requests.size());
        } catch (...) {
          if (!failure) failure = std::current_exception();
        }
      };
      jobs.push_back({decide(requests[begun], bundle), keep});
    }
    return jobs;
  };
  std::optional<WorkOrder> order = ledger_.orders.find(bundle.content.order);
  bool is_enough = order && order->quantity - order->used >= std::ssize(requests);
  ledger_.run_on<media::Answer>(is_enough ? GroupCommit::threads_to_compute() : 1, begin_some);
  if (failure) std::rethrow_exception(failure);
  std::vector<media::Answer> answers;
  for (std::optional<media::Answer>& answer : decided) answers.push_back(*std::move(answer));
  return answers;
}

Task<media::Answer> BundleAnswers::decide(const media::CarriedRequest& request,
                                          const ReceivedBundle& bundle) {
  media::Answer answer{.device_id = request.device_id,
                       .request = sha256_hex(request.message),
                       .certificate = {},
                       .refusal = {}};
  try {
    answer.certificate = co_await issue_carried(request, bundle, issuer_);
  } catch (const Error& error) {
    // What is wrong with the CA is no answer to a device: the bundle waits until that is put right.
    bool is_ours = cmp::is_about_the_ca(error.code()) || is_retryable(error.code()) ||
                   error.code() == ErrorCode::internal;
    if (is_ours) throw;
    answer.refusal = error;
  }
  co_return answer;
}

std::string BundleAnswers::reply_to(const ReceivedBundle& bundle, std::vector<media::Answer> answers) const {
  std::optional<std::string> crl = list_for_reply(home_.file("crl.der"));
  Checkpoint checkpoint = ledger_.log.checkpoint();
  media::ResponseBundle reply{.ca = bundle.content.ca,
                              .station = bundle.content.station,
                              .sequence = bundle.content.sequence,
                              .request_bundle = bundle.digest,
                              .order = bundle.content.order,
                              .created = clock_.now(),
                              .answers = std::move(answers),
                              .chain = {issuing_},
                              .crl = crl ? std::optional(Bytes(crl->begin(), crl->end())) : std::nullopt,
                              .log_entries = checkpoint.sequence,
                              .log_digest = checkpoint.digest};
  return reply.to_json();
}

// One transaction: from here on this bundle is answered, and what its receipts say is known.
std::size_t BundleAnswers::record(const ReceivedBundle& bundle, const std::string& reply_digest) {
  Time now = clock_.now();
  const std::string& station = bundle.station.subject;
  WriteTransaction transaction = ledger_.write();
  std::size_t receipts = 0;
  for (const media::Receipt& receipt : bundle.content.receipts)
    receipts += take_receipt(receipt, station, now);
  ledger_.bundles.append({.station = station,
                          .signer = bundle.station.key_id,
                          .sequence = bundle.content.sequence,
                          .digest = bundle.digest,
                          .reply_digest = reply_digest,
                          .order = bundle.content.order.text(),
                          .answered_at = format_time(now)});
  ledger_.log.append("bundle.answered", now,
                     {{"station", station},
                      {"sequence", bundle.content.sequence},
                      {"order", bundle.content.order.text()},
                      {"requests", bundle.content.requests.size()},
                      {"receipts", receipts},
                      {"bundle", bundle.digest},
                      {"reply", reply_digest}});
  transaction.commit();
  return receipts;
}

// Nothing for one that this CA did not issue to this device: its ledger may be a back-up's, and the station
// shall not be stuck for that. A device may have moved to another station, which says that it is done; that
// it failed only the one says which asked for the certificate.
std::optional<CertificateRecord> BundleAnswers::certificate_of(const media::Receipt& receipt,
                                                               const std::string& station) const {
  std::optional<CertificateRecord> record = ledger_.certificates.with_serial(receipt.serial.hex());
  bool is_ours = record && record->kind == SubjectKind::device && !record->certificate.empty() &&
                 record->subject == receipt.device_id.text();
  if (!is_ours || (!receipt.accepted && record->sender != station)) return std::nullopt;
  return record;
}

std::size_t BundleAnswers::count_taken(const ReceivedBundle& bundle) const {
  const std::vector<media::Receipt>& receipts = bundle.content.receipts;
  return std::count_if(receipts.begin(), receipts.end(), [&](const media::Receipt& receipt) {
    return certificate_of(receipt, bundle.station.subject).has_value();
  });
}

// What certConf says on other ways.
bool BundleAnswers::take_receipt(const media::Receipt& receipt, const std::string& station, Time now) {
  std::optional<CertificateRecord> record = certificate_of(receipt, station);
  if (!record) return false;
  Confirmation outcome = receipt.accepted ? Confirmation::accepted : Confirmation::rejected;
  if (record->confirmation == outcome) return true;
  ledger_.certificates.confirm(record->serial, outcome, now);
  ledger_.log.append(receipt.accepted ? "device.confirmed" : "device.rejected", now,
                     {{"serial", record->serial}, {"sender", station}});
  return true;
}

}  // namespace fleetroot::ca
