#include "lib/cmp/responder.h"

#include <optional>

namespace fleetroot::cmp {
namespace {

Failure failure_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::not_authorised:
      return Failure::not_authorised;
    case ErrorCode::internal:
      return Failure::system_failure;
    case ErrorCode::busy:
      return Failure::unavailable;
    default:
      return Failure::bad_request;
  }
}

// What CMP has a bit of its own for. Ours read the code in the text.
struct Refusal : Error {
  Refusal(Failure bit, Error error) : Error(std::move(error)), failure(bit) {}
  Failure failure;
};

StatusInfo status_of(const Error& error) {
  const auto* refusal = dynamic_cast<const Refusal*>(&error);
  return rejection(encode_refusal(error), refusal != nullptr ? refusal->failure : failure_of(error.code()));
}

Error our_bug(const std::exception& error) {
  return {ErrorCode::internal, "the CA failed in a way that it does not know",
          "ask whoever runs the CA what it logged", error.what()};
}

Error no_open_transaction() {
  return {ErrorCode::protocol, "the CA has no open transaction that this CMP message belongs to",
          "run the same command again: it resumes"};
}

BodyType answer_to(BodyType request) {
  return request == BodyType::kur ? BodyType::kup : BodyType::cp;
}

void refuse_if_unprotected(const Message& message) {
  if (!message.protection.empty()) return;
  throw Refusal(Failure::bad_message_check, {ErrorCode::not_authorised, "the CMP message is not signed",
                                             "have the station sign it with the key of its certificate"});
}

void refuse_unless_signed(const Message& message, const Sender& sender) {
  if (is_protected_by(message, sender.key)) return;
  throw Refusal(Failure::bad_message_check,
                {ErrorCode::not_authorised,
                 "the CMP message is not signed with the key that " + sender.name + " was enrolled with",
                 "check that the station uses the key and certificate that it was enrolled with"});
}

// Nobody renews under another name.
KeyUpdateRequest signed_key_update(const Message& message, const Sender& sender) {
  refuse_unless_signed(message, sender);
  KeyUpdateRequest request = parse_key_update_request(message.body);
  if (request.subject.empty() || request.subject == subject_of(sender.certificate)) return request;
  throw Error(ErrorCode::bad_request, "the request to renew is for another name than " + sender.name + "'s",
              "renew the certificate that signs the request");
}

}  // namespace

// One request, its answer, and what its confirmation has to fit.
struct Responder::Transaction {
  TransactionKey key;
  std::chrono::steady_clock::time_point begun;
  Bytes request_digest;
  Bytes certificate;
  int request_id;
  Bytes nonce;
  Bytes answer;
};

CertificateRequest signed_request(const Message& message, const Sender& sender) {
  refuse_unless_signed(message, sender);
  if (message.type != BodyType::p10cr) throw kNotAMessage.error("it is no p10cr");
  return CertificateRequest::from_der(message.body);
}

Responder::Responder(const Signer& signer, Authority& authority, Now now)
    : signer_(signer.certificate, signer.key), authority_(authority), now_(std::move(now)) {}

Responder::~Responder() = default;

// Step 1 of docs/issuance-cycle.md: one message, bounded, parsed once.
Task<Bytes> Responder::answer(BytesView bytes, std::string label, Bytes peer) {
  Message message = parse_message(bytes);
  StatusInfo status;
  try {
    co_return co_await handle(message, bytes, label, peer);
  } catch (const Error& refusal) {
    authority_.failed(refusal);
    status = status_of(refusal);
  } catch (const std::exception& bug) {
    Error error = our_bug(bug);
    authority_.failed(error);
    status = status_of(error);
  }
  co_return refuse(message, status);
}

Task<Bytes> Responder::handle(const Message& message, BytesView bytes, std::string_view label,
                              BytesView peer) {
  if (message.header.version != 2) {
    throw Refusal(Failure::unsupported_version,
                  {ErrorCode::protocol, "the CMP message is of a version that this CA does not speak",
                   "have the station speak CMP version 2"});
  }
  if (message.header.behalf) co_return co_await issue_for_station(message, label);
  if (!peer.empty()) refuse_unless_from(peer, message);
  switch (message.type) {
    case BodyType::p10cr:
    case BodyType::kur:
      co_return co_await begin(message, bytes, label);
    case BodyType::cert_conf:
    case BodyType::error:
      co_return co_await finish(message);
    case BodyType::rr:
      co_return revoke(message);
    default:
      throw Error(ErrorCode::protocol,
                  "the CA takes PKCS#10 requests (p10cr), renewals (kur), their confirmations, and "
                  "revocations (rr) only",
                  "request the certificate with a p10cr");
  }
}

bool Responder::is_from_registration_authority(const Message& message) const {
  return registration_secret_ && is_protected_by(message, *registration_secret_);
}

// What a registration authority asks for: given once, without a confirmation.
Task<Bytes> Responder::issue_for_station(const Message& message, std::string_view label) {
  if (!is_from_registration_authority(message)) {
    throw Refusal(Failure::not_authorised,
                  {ErrorCode::not_authorised, "the CMP message asks in a station's name, and is not its own",
                   "ask with the station's own key"});
  }
  bool is_known = message.type == BodyType::p10cr && message.header.implicit_confirm;
  if (!is_known) throw kNotAMessage.error("it is no p10cr without a confirmation");
  const Behalf& behalf = *message.header.behalf;
  Sender sender = authority_.recognise(Certificate::from_der(behalf.certificate));
  CertificateRequest request = CertificateRequest::from_der(message.body);
  Issued issued;
  if (behalf.may_renew && request.common_name() == sender.name) {
    request.refuse_unless_sound();
    issued = authority_.renew(sender, request.public_key(), std::nullopt);
  } else {
    issued = co_await authority_.issue(sender, request, message.header.message_time, label);
  }
  CertificateResponse response{
      .request_id = 0, .status = {}, .certificate = std::move(issued.certificate), .publications = {}};
  co_return encode_answer(message, random_bytes(kRandomSize), BodyType::cp, encode(response));
}

// Whoever has got hold of another sender's message gets no answer to it.
void Responder::refuse_unless_from(BytesView peer, const Message& message) {
  if (equal(message.header.sender_key_id, peer)) return;
  throw Refusal(Failure::not_authorised,
                {ErrorCode::not_authorised,
                 "the CMP message is " + sender_of(message).name + "'s, which did not open the connection",
                 "connect with the certificate of the station that signs the message"});
}

Sender Responder::sender_of(const Message& message) {
  refuse_if_unprotected(message);
  if (!message.header.sender_key_id.empty()) return authority_.authenticate(message.header.sender_key_id);
  throw Error(ErrorCode::not_authorised, "the CMP message does not say which station's key signed it",
              "give the station's certificate a subject key identifier, or enroll the station again");
}

// Step 2 of docs/issuance-cycle.md, up to where the authority takes over.
Task<Bytes> Responder::begin(const Message& message, BytesView bytes, std::string_view label) {
  const Header& header = message.header;
  if (header.transaction_id.empty()) {
    throw Error(ErrorCode::protocol, "the CMP message has no transaction ID", "make the request again");
  }
  TransactionKey key(header.sender_key_id, header.transaction_id);
  Bytes digest = sha256(bytes);
  Sender sender = sender_of(message);  // who was revoked is not given what he had asked for before
  if (OpenTransaction open = find(key)) {
    // An answer that was lost is given again; it is bound to the nonce of this very request.
    if (open->request_digest == digest) co_return open->answer;
    throw Refusal(Failure::transaction_id_in_use,
                  {ErrorCode::protocol, "another request is open under the same CMP transaction ID",
                   "make the request again"});
  }
  CertificateResponse response{.request_id = 0, .status = {}, .certificate = {}, .publications = {}};
  Issued issued;
  if (message.type == BodyType::kur) {
    KeyUpdateRequest update = signed_key_update(message, sender);
    issued = authority_.renew(sender, update.public_key, update.replaces);
    response.request_id = update.request_id;
  } else {
    CertificateRequest request = signed_request(message, sender);
    issued = co_await authority_.issue(sender, request, header.message_time, label);
  }
  response.certificate = issued.certificate;
  Bytes nonce = random_bytes(kRandomSize);
  Bytes answer = encode_answer(message, nonce, answer_to(message.type), encode(response), issued.chain);
  Transaction transaction{.key = std::move(key),
                          .begun = now_(),
                          .request_digest = std::move(digest),
                          .certificate = std::move(issued.certificate),
                          .request_id = response.request_id,
                          .nonce = std::move(nonce),
                          .answer = std::move(answer)};
  co_return keep(std::move(transaction))->answer;
}

// The station says what became of the certificate: certConf, or an error message. Only the station's own
// message closes the transaction, and only once.
Task<Bytes> Responder::finish(const Message& message) {
  OpenTransaction open = find({message.header.sender_key_id, message.header.transaction_id});
  if (!open) throw no_open_transaction();
  Sender sender = sender_of(message);
  refuse_unless_signed(message, sender);
  if (message.header.recipient_nonce != open->nonce) {
    throw Refusal(Failure::bad_recipient_nonce,
                  {ErrorCode::protocol, "the CMP message does not answer what the CA sent",
                   "run the same command again: it resumes"});
  }
  // What does not read closes nothing.
  std::optional<CertificateConfirmation> confirmation;
  if (message.type == BodyType::cert_conf) confirmation = parse_certificate_confirmation(message.body);
  if (!close(open)) throw no_open_transaction();
  if (confirmation && (confirmation->request_id != open->request_id ||
                       confirmation->hash != certificate_hash(open->certificate))) {
    throw Error(ErrorCode::protocol, "the confirmation is for another certificate than the CA sent",
                "run the same command again: it resumes");
  }
  // An error, or a certConf without any CertStatus, rejects (RFC 4210 section 5.3.18).
  Certificate certificate = Certificate::fields_from_der(open->certificate);
  co_await authority_.confirm(sender, certificate, confirmation && confirmation->status.is_acceptance());
  co_return encode_answer(message, random_bytes(kRandomSize), BodyType::pki_conf, encode_confirmed());
}

Bytes Responder::revoke(const Message& message) {
  Sender sender = sender_of(message);
  refuse_unless_signed(message, sender);
  authority_.revoke(sender, parse_revocation_request(message.body));
  return encode_answer(message, random_bytes(kRandomSize), BodyType::rp, encode_revocation_response({}));
}

// A request gets its refusal as its certificate response, everything else as an error message; so does a
// request of another version (RFC 4210 section 7).
Bytes Responder::refuse(const Message& message, const StatusInfo& status) const {
  bool is_request = (message.type == BodyType::p10cr || message.type == BodyType::kur) &&
                    status.failure != Failure::unsupported_version;
  CertificateResponse response{.request_id = 0, .status = status, .certificate = {}, .publications = {}};
  return encode_answer(message, random_bytes(kRandomSize),
                       is_request ? answer_to(message.type) : BodyType::error,
                       is_request ? encode(response) : encode_error(response.status));
}

Bytes Responder::encode_answer(const Message& message, Bytes nonce, BodyType type, BytesView body,
                               const std::vector<Certificate>& chain) const {
  Header header;
  header.recipient = message.header.sender;
  header.transaction_id = message.header.transaction_id;
  header.sender_nonce = std::move(nonce);
  header.recipient_nonce = message.header.sender_nonce;
  if (message.header.behalf && is_from_registration_authority(message)) {
    header.sender = message.header.recipient;
    header.implicit_confirm = true;
    return encode_with_secret(std::move(header), type, body, *registration_secret_);
  }
  std::vector<Bytes> certificates;
  for (const Certificate& certificate : chain) certificates.push_back(certificate.der());
  return signer_.encode(std::move(header), type, body, certificates);
}

Responder::OpenTransaction Responder::find(const TransactionKey& key) {
  std::lock_guard lock(mutex_);
  drop_old();
  auto open = by_key_.find(key);
  return open == by_key_.end() ? nullptr : *open->second;
}

// The one that is kept: of two that were begun at the same time with the same message, the first.
Responder::OpenTransaction Responder::keep(Transaction transaction) {
  std::lock_guard lock(mutex_);
  if (auto open = by_key_.find(transaction.key); open != by_key_.end()) return *open->second;
  if (by_age_.size() >= kMaximumTransactions) {
    by_key_.erase(by_age_.front()->key);
    by_age_.pop_front();
  }
  by_age_.push_back(std::make_shared<const Transaction>(std::move(transaction)));
  by_key_.emplace(by_age_.back()->key, std::prev(by_age_.end()));
  return by_age_.back();
}

// False if it was closed before.
bool Responder::close(const OpenTransaction& transaction) {
  std::lock_guard lock(mutex_);
  auto open = by_key_.find(transaction->key);
  if (open == by_key_.end() || *open->second != transaction) return false;
  by_age_.erase(open->second);
  by_key_.erase(open);
  return true;
}

void Responder::drop_old() {
  while (!by_age_.empty() && now_() - by_age_.front()->begun >= kTransactionTimeout) {
    by_key_.erase(by_age_.front()->key);
    by_age_.pop_front();
  }
}

}  // namespace fleetroot::cmp
