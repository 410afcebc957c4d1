#include "lib/cmp/responder.h"

#include <openssl/cmperr.h>
#include <openssl/err.h>

#include <algorithm>
#include <string_view>

#include "lib/cmp/message.h"
#include "lib/cmp/openssl_cmp.h"
#include "lib/cmp/wire.h"
#include "lib/x509/openssl_context.h"

namespace fleetroot::cmp {

struct Responder::Incoming {
  BytesView bytes;
  TransactionKey key;
  CmpMessagePtr message;

  const Bytes& sender_key_id() const { return key.first; }
  const Bytes& transaction_id() const { return key.second; }
};

// One p10cr and what belongs to it. OpenSSL's server context carries transaction ID and nonces from the
// request to its confirmation, and OpenSSL's callbacks find this object through it.
struct Responder::Transaction {
  Authority& authority;
  Sender sender;
  Bytes transaction_id;
  std::chrono::steady_clock::time_point begun;
  Bytes request_digest;
  Bytes answer;
  std::optional<Certificate> issued;
  bool has_decided = false;        // the authority, about the request
  bool has_heard_outcome = false;  // of the certificate, from the station
  CmpSrvCtxPtr context;

  void confirm(bool accepted) {
    has_heard_outcome = true;
    authority.confirm(sender, *issued, accepted);
  }

  static OSSL_CMP_PKISI* issue(OSSL_CMP_SRV_CTX* context, const OSSL_CMP_MSG*, int, const OSSL_CRMF_MSG*,
                               const X509_REQ* request, X509** certificate, STACK_OF(X509) * *chain,
                               STACK_OF(X509) * *ca_publications);
  static int take_confirmation(OSSL_CMP_SRV_CTX* context, const OSSL_CMP_MSG*, int,
                               const ASN1_OCTET_STRING* hash, const OSSL_CMP_PKISI* status);
  static void take_error(OSSL_CMP_SRV_CTX* context, const OSSL_CMP_MSG*, const OSSL_CMP_PKISI*,
                         const ASN1_INTEGER*, const OSSL_CMP_PKIFREETEXT*);
};

namespace {

// The bit that other implementations look at (RFC 4210 appendix F); ours read the code in the text.
int failure_bit(ErrorCode code) {
  switch (code) {
    case ErrorCode::not_authorised:
      return OSSL_CMP_PKIFAILUREINFO_notAuthorized;
    case ErrorCode::internal:
      return OSSL_CMP_PKIFAILUREINFO_systemFailure;
    case ErrorCode::busy:
      return OSSL_CMP_PKIFAILUREINFO_systemUnavail;
    default:
      return OSSL_CMP_PKIFAILUREINFO_badRequest;
  }
}

Error our_bug() {
  return {ErrorCode::internal, "the CA failed in a way that it does not know",
          "ask whoever runs the CA what it logged"};
}

// Runs `body`; what it throws comes back as the Error that the station is to hear.
template <typename Body>
std::optional<Error> error_of(const Body& body) {
  try {
    body();
    return std::nullopt;
  } catch (const Error& error) {
    return error;
  } catch (const std::exception&) {
    return our_bug();
  }
}

Error cannot_sign() {
  return openssl_error(ErrorCode::internal, "the CA cannot sign its answer",
                       "check that the CA's token is there and that its certificate is for its key");
}

Error not_signed_by(const Sender& sender) {
  return openssl_error(
      ErrorCode::not_authorised,
      "the CMP message is not signed with the key that " + sender.name + " was enrolled with",
      "check that the station uses the key and certificate that it was enrolled with");
}

Bytes encode(const OSSL_CMP_MSG* message) {
  return to_der(i2d_OSSL_CMP_MSG, message);
}

CmpMessagePtr process(OSSL_CMP_SRV_CTX* context, const OSSL_CMP_MSG* message) {
  ERR_clear_error();
  CmpMessagePtr answer(OSSL_CMP_SRV_process_request(context, message));
  if (!answer) throw cannot_sign();
  return answer;
}

CmpSrvCtxPtr make_context(const Responder::Signer& signer) {
  CmpSrvCtxPtr context(OSSL_CMP_SRV_CTX_new(openssl_context(), nullptr));
  // OpenSSL's defaults are the strict ones, and two of them are promises: protection is required of every
  // message, and every answer is protected.
  bool good = context &&
              sign_as(OSSL_CMP_SRV_CTX_get0_cmp_ctx(context.get()), signer.certificate, signer.key) &&
              OSSL_CMP_SRV_CTX_set_accept_unprotected(context.get(), 0) == 1 &&
              OSSL_CMP_SRV_CTX_set_send_unprotected_errors(context.get(), 0) == 1;
  if (!good) throw openssl_error(ErrorCode::internal, "cannot begin a CMP transaction", "report this");
  return context;
}

template <typename Custom>
Custom& custom_of(const OSSL_CMP_SRV_CTX* context) {
  return *static_cast<Custom*>(OSSL_CMP_SRV_CTX_get0_custom_ctx(context));
}

X509* shared(const Certificate& certificate) {
  X509_up_ref(certificate.x509());
  return certificate.x509();
}

struct Refusal {
  std::string text;
  int failure;
};

OSSL_CMP_PKISI* rejection(const Refusal& refusal) {
  return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_rejection, 1 << refusal.failure, refusal.text.c_str());
}

OSSL_CMP_PKISI* give_refusal(OSSL_CMP_SRV_CTX* context, const OSSL_CMP_MSG*, int, const OSSL_CRMF_MSG*,
                             const X509_REQ*, X509**, STACK_OF(X509) **, STACK_OF(X509) **) {
  return rejection(custom_of<Refusal>(context));
}

bool is_acceptance(const OSSL_CMP_PKISI* status) {
  if (status == nullptr) return true;  // RFC 4210 section 5.3.18
  char text[OSSL_CMP_PKISI_BUFLEN] = "";
  return OSSL_CMP_snprint_PKIStatusInfo(status, text, sizeof text) != nullptr &&
         std::string_view(text).starts_with("PKIStatus: accepted");
}

// RFC 4210 section 5.3.18: the hash is the one that the certificate's signature uses.
bool is_hash_of(const ASN1_OCTET_STRING* hash, const Certificate& certificate) {
  using OctetStringPtr = std::unique_ptr<ASN1_OCTET_STRING, FreeWith<ASN1_OCTET_STRING_free>>;
  OctetStringPtr ours(X509_digest_sig(certificate.x509(), nullptr, nullptr));
  return ours && hash != nullptr && ASN1_OCTET_STRING_cmp(ours.get(), hash) == 0;
}

}  // namespace

OSSL_CMP_PKISI* Responder::Transaction::issue(OSSL_CMP_SRV_CTX* context, const OSSL_CMP_MSG*, int,
                                              const OSSL_CRMF_MSG*, const X509_REQ* request,
                                              X509** certificate, STACK_OF(X509) * *chain,
                                              STACK_OF(X509) **) {
  auto& transaction = custom_of<Transaction>(context);
  transaction.has_decided = true;
  std::optional<Error> error = error_of([&] {
    Issued result = transaction.authority.issue(transaction.sender,
                                                CertificateRequest::from_der(to_der(i2d_X509_REQ, request)),
                                                transaction.transaction_id);
    *chain = to_stack(result.chain).release();
    *certificate = shared(result.certificate);
    transaction.issued = std::move(result.certificate);
  });
  if (error) return rejection({.text = encode_refusal(*error), .failure = failure_bit(error->code())});
  return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_accepted, 0, nullptr);
}

int Responder::Transaction::take_confirmation(OSSL_CMP_SRV_CTX* context, const OSSL_CMP_MSG*, int,
                                              const ASN1_OCTET_STRING* hash, const OSSL_CMP_PKISI* status) {
  auto& transaction = custom_of<Transaction>(context);
  if (!is_hash_of(hash, *transaction.issued)) {
    ERR_raise(ERR_LIB_CMP, CMP_R_CERTHASH_UNMATCHED);
    return 0;
  }
  std::optional<Error> error = error_of([&] { transaction.confirm(is_acceptance(status)); });
  if (!error) return 1;
  ERR_raise_data(ERR_LIB_CMP, CMP_R_ERROR_PROCESSING_MESSAGE, "%s", encode_refusal(*error).c_str());
  return 0;
}

// The station broke off; that the ledger could not note it leaves the certificate unconfirmed, which is true.
void Responder::Transaction::take_error(OSSL_CMP_SRV_CTX* context, const OSSL_CMP_MSG*, const OSSL_CMP_PKISI*,
                                        const ASN1_INTEGER*, const OSSL_CMP_PKIFREETEXT*) {
  auto& transaction = custom_of<Transaction>(context);
  error_of([&] { transaction.confirm(false); });
}

Responder::Responder(Signer signer, Authority& authority, Now now)
    : signer_(std::move(signer)), authority_(authority), now_(std::move(now)) {
  refuse_unless_can_protect(signer_.certificate);
}

Responder::~Responder() = default;

// Step 1 of docs/issuance-cycle.md: one message, bounded, parsed once.
Bytes Responder::respond(BytesView message) {
  Header header = parse_message(message).header;
  Incoming incoming{.bytes = message,
                    .key = {std::move(header.sender_key_id), std::move(header.transaction_id)},
                    .message = parse_openssl_message(message)};
  std::optional<Bytes> answer;
  std::optional<Error> error = error_of([&] {
    drop_expired();
    switch (OSSL_CMP_MSG_get_bodytype(incoming.message.get())) {
      case kP10cr:
        answer = begin(incoming);
        break;
      case kCertConf:
      case kErrorBody:
        answer = finish(incoming);
        break;
      default:
        throw Error(ErrorCode::protocol, "the CA takes PKCS#10 requests (p10cr) and their confirmations only",
                    "request the certificate with a p10cr");
    }
  });
  if (error) answer = refuse(incoming, *error);
  ERR_clear_error();
  return std::move(*answer);
}

// Step 2 of docs/issuance-cycle.md, up to where the authority takes over.
Bytes Responder::begin(const Incoming& incoming) {
  if (incoming.transaction_id().empty()) {
    throw Error(ErrorCode::protocol, "the CMP message has no transaction ID", "make the request again");
  }
  Bytes digest = sha256(incoming.bytes);
  if (auto open = transactions_.find(incoming.key); open != transactions_.end()) {
    // An answer that was lost is given again; it is bound to the nonce of this very request.
    if (open->second->request_digest == digest) return open->second->answer;
    throw Error(ErrorCode::protocol, "another request is open under the same CMP transaction ID",
                "make the request again");
  }
  if (incoming.sender_key_id().empty()) {
    throw Error(ErrorCode::not_authorised, "the CMP message does not say which station's key signed it",
                "give the station's certificate a subject key identifier, or enroll the station again");
  }

  auto transaction =
      std::make_unique<Transaction>(Transaction{.authority = authority_,
                                                .sender = authority_.authenticate(incoming.sender_key_id()),
                                                .transaction_id = incoming.transaction_id(),
                                                .begun = now_(),
                                                .request_digest = std::move(digest),
                                                .answer = {},
                                                .issued = {},
                                                .has_decided = false,
                                                .has_heard_outcome = false,
                                                .context = make_context(signer_)});
  OSSL_CMP_CTX* context = OSSL_CMP_SRV_CTX_get0_cmp_ctx(transaction->context.get());
  OSSL_CMP_CTX_set1_srvCert(context, transaction->sender.certificate.x509());  // pinned: no other will do
  OSSL_CMP_SRV_CTX_init(transaction->context.get(), transaction.get(), Transaction::issue, nullptr, nullptr,
                        Transaction::take_error, Transaction::take_confirmation, nullptr);
  CmpMessagePtr answer = process(transaction->context.get(), incoming.message.get());
  bool is_answered = OSSL_CMP_MSG_get_bodytype(answer.get()) == kCp;
  if (!transaction->has_decided && !is_answered) {
    bool is_signed = OSSL_CMP_validate_msg(context, incoming.message.get()) == 1;
    if (!is_signed) throw not_signed_by(transaction->sender);
    throw openssl_error(ErrorCode::protocol, "the CMP message breaks the rules of its protocol",
                        "check that nothing between station and CA changes its bytes");
  }
  transaction->answer = encode(answer.get());
  Bytes bytes = transaction->answer;
  if (transaction->issued && is_answered) {
    drop_oldest_if_full();
    transactions_.emplace(incoming.key, std::move(transaction));
  }
  return bytes;
}

// The station says what became of the certificate: certConf, or an error message.
Bytes Responder::finish(const Incoming& incoming) {
  auto open = transactions_.find(incoming.key);
  if (open == transactions_.end()) {
    throw Error(ErrorCode::protocol, "the CA has no open transaction that this CMP message belongs to",
                "run the same command again: it resumes");
  }
  // OpenSSL closes a transaction on any message that it does not like, so only the station's own may reach
  // it.
  OSSL_CMP_CTX* context = OSSL_CMP_SRV_CTX_get0_cmp_ctx(open->second->context.get());
  if (OSSL_CMP_validate_msg(context, incoming.message.get()) != 1) throw not_signed_by(open->second->sender);
  std::unique_ptr<Transaction> transaction = std::move(transactions_.extract(open).mapped());
  CmpMessagePtr answer = process(transaction->context.get(), incoming.message.get());
  // A certConf without any CertStatus rejects everything, and OpenSSL calls nobody (RFC 4210 section 5.3.18).
  bool is_confirmed = OSSL_CMP_MSG_get_bodytype(answer.get()) == kPkiConf;
  if (is_confirmed && !transaction->has_heard_outcome) transaction->confirm(false);
  return encode(answer.get());
}

// A context of its own that believes nothing and decides nothing: it accepts messages without protection only
// to have OpenSSL address and sign the refusal. A p10cr gets it as its certificate response; other bodies get
// an error message, whose details OpenSSL takes from the first error on its queue.
Bytes Responder::refuse(const Incoming& incoming, const Error& error) const {
  Refusal refusal{.text = encode_refusal(error), .failure = failure_bit(error.code())};
  CmpSrvCtxPtr context = make_context(signer_);
  OSSL_CMP_SRV_CTX_set_accept_unprotected(context.get(), 1);
  OSSL_CMP_SRV_CTX_init(context.get(), &refusal, give_refusal, nullptr, nullptr, nullptr, nullptr, nullptr);
  ERR_clear_error();
  ERR_raise_data(ERR_LIB_CMP, CMP_R_ERROR_PROCESSING_MESSAGE, "%s", refusal.text.c_str());
  CmpMessagePtr answer(OSSL_CMP_SRV_process_request(context.get(), incoming.message.get()));
  if (!answer) throw cannot_sign();
  return encode(answer.get());
}

void Responder::drop_expired() {
  std::erase_if(transactions_, [now = now_()](const auto& entry) {
    return now - entry.second->begun >= kTransactionTimeout;
  });
}

void Responder::drop_oldest_if_full() {
  if (transactions_.size() < kMaximumTransactions) return;
  transactions_.erase(
      std::min_element(transactions_.begin(), transactions_.end(),
                       [](const auto& a, const auto& b) { return a.second->begun < b.second->begun; }));
}

}  // namespace fleetroot::cmp
