#include "lib/cmp/client.h"

#include <exception>

#include "lib/cmp/message.h"
#include "lib/cmp/openssl_cmp.h"
#include "lib/cmp/responder.h"

namespace fleetroot::cmp {
namespace {

constexpr int kAccepted = 0;
constexpr int kNotAccepted = 1 << OSSL_CMP_PKIFAILUREINFO_incorrectData;

Bytes subject_public_key_info(X509_PUBKEY* key) {
  return to_der(i2d_X509_PUBKEY, key);
}

void append_new(std::vector<Certificate>& list, const X509StackPtr& stack) {
  for (int i = 0; i < sk_X509_num(stack.get()); ++i) {
    X509* x509 = sk_X509_value(stack.get(), i);
    X509_up_ref(x509);
    Certificate certificate{X509Ptr(x509)};
    if (std::find(list.begin(), list.end(), certificate) == list.end())
      list.push_back(std::move(certificate));
  }
}

// One enrollment, as OpenSSL's callbacks see it. No exception may pass through OpenSSL, so the first one
// waits here.
struct Exchange {
  const CertificateRequest& request;
  const Transfer& transfer;
  const Accept& accept;
  std::optional<Enrolled> enrolled;  // once accept() has returned
  std::exception_ptr exception;
  std::string rejection;  // what the CA is told about `exception`
  bool has_sent = false;

  void keep(const std::exception_ptr& caught) {
    if (!exception) exception = caught;
  }
};

OSSL_CMP_MSG* transfer_message(OSSL_CMP_CTX* context, const OSSL_CMP_MSG* message) {
  auto& exchange = *static_cast<Exchange*>(OSSL_CMP_CTX_get_transfer_cb_arg(context));
  try {
    exchange.has_sent = true;
    Bytes answer = exchange.transfer(to_der(i2d_OSSL_CMP_MSG, message));
    parse_header(answer);
    return parse_message(answer).release();
  } catch (...) {
    exchange.keep(std::current_exception());
    return nullptr;
  }
}

void refuse_unless_same_key(const CertificateRequest& request, X509* certificate) {
  if (subject_public_key_info(X509_get_X509_PUBKEY(certificate)) ==
      subject_public_key_info(X509_REQ_get_X509_PUBKEY(request.x509_req()))) {
    return;
  }
  throw Error(ErrorCode::certificate_rejected, "the CA sent a certificate for another key than the requested",
              "put the device aside and have the CA's ledger checked");
}

int check_certificate(OSSL_CMP_CTX* context, X509* x509, int, const char** text) {
  auto& exchange = *static_cast<Exchange*>(OSSL_CMP_CTX_get_certConf_cb_arg(context));
  try {
    refuse_unless_same_key(exchange.request, x509);
    X509_up_ref(x509);
    Enrolled enrolled{.certificate = Certificate(X509Ptr(x509)), .chain = {}};
    append_new(enrolled.chain, X509StackPtr(OSSL_CMP_CTX_get1_caPubs(context)));
    append_new(enrolled.chain, X509StackPtr(OSSL_CMP_CTX_get1_extraCertsIn(context)));
    exchange.accept(enrolled);
    exchange.enrolled = std::move(enrolled);
    return kAccepted;
  } catch (const Error& error) {
    exchange.keep(std::current_exception());
    exchange.rejection = encode_refusal(error);
  } catch (...) {
    exchange.keep(std::current_exception());
    exchange.rejection = "the station failed";
  }
  *text = exchange.rejection.c_str();
  return kNotAccepted;
}

CmpCtxPtr make_context(const Identity& station, const Certificate& ca, Exchange& exchange) {
  CmpCtxPtr context(OSSL_CMP_CTX_new(nullptr, nullptr));
  // RFC 9483 section 3.3 wants the station's chain sent. What the CA is pinned to it has itself.
  std::vector<Certificate> chain = station.chain;
  std::erase(chain, ca);
  bool good = context && sign_as(context.get(), station.certificate, station.key) &&
              OSSL_CMP_CTX_set1_srvCert(context.get(), ca.x509()) == 1 &&
              OSSL_CMP_CTX_set1_extraCertsOut(context.get(), to_stack(chain).get()) == 1 &&
              OSSL_CMP_CTX_set1_p10CSR(context.get(), exchange.request.x509_req()) == 1 &&
              OSSL_CMP_CTX_set_transfer_cb(context.get(), transfer_message) == 1 &&
              OSSL_CMP_CTX_set_transfer_cb_arg(context.get(), &exchange) == 1 &&
              OSSL_CMP_CTX_set_certConf_cb(context.get(), check_certificate) == 1 &&
              OSSL_CMP_CTX_set_certConf_cb_arg(context.get(), &exchange) == 1;
  if (!good) throw openssl_error(ErrorCode::internal, "cannot begin a CMP transaction", "report this");
  return context;
}

std::string status_text(const OSSL_CMP_CTX* context) {
  std::string text;
  OSSL_CMP_PKIFREETEXT* strings = OSSL_CMP_CTX_get0_statusString(context);
  for (int i = 0; i < sk_ASN1_UTF8STRING_num(strings); ++i) {
    const ASN1_UTF8STRING* string = sk_ASN1_UTF8STRING_value(strings, i);
    if (!text.empty()) text += "; ";
    text.append(reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
                static_cast<std::size_t>(ASN1_STRING_length(string)));
  }
  return text;
}

Error refusal_in(const OSSL_CMP_CTX* context) {
  Error refusal = decode_refusal(status_text(context));
  int failure = OSSL_CMP_CTX_get_failInfoCode(context);
  bool is_bad_proof = failure > 0 && (failure & (1 << OSSL_CMP_PKIFAILUREINFO_badPOP)) != 0;
  if (refusal.code() == ErrorCode::refused_by_ca && is_bad_proof) {
    return {ErrorCode::bad_request, "the CA finds that the request's signature does not verify",
            "run the same command again; if it stays, the token's key is not what it says",
            refusal.message()};
  }
  return refusal;
}

// Why no certificate came of it, when no exception of ours says so already.
Error failure_of(const OSSL_CMP_CTX* context, const Exchange& exchange) {
  if (exchange.enrolled) {
    return openssl_error(ErrorCode::ca_unreachable,
                         "the certificate is in place, but the CA did not confirm that it knows",
                         "run the same command again: it resumes");
  }
  switch (OSSL_CMP_CTX_get_status(context)) {
    case OSSL_CMP_PKISTATUS_rejection:
      take_openssl_errors();
      return refusal_in(context);
    case OSSL_CMP_PKISTATUS_waiting:
      return openssl_error(ErrorCode::busy, "the CA has not decided yet and asks to wait",
                           "run the same command again later");
    default:
      break;
  }
  if (!exchange.has_sent) {
    return openssl_error(ErrorCode::configuration, "the station's key cannot sign the request",
                         "check that the station's token is there and that its certificate is for its key");
  }
  return openssl_error(ErrorCode::protocol, "the CA's answer is not one that this station may believe",
                       "check that the station was enrolled with the certificate of the CA that it talks to");
}

}  // namespace

Client::Client(Identity station, Certificate ca, Transfer transfer)
    : station_(std::move(station)), ca_(std::move(ca)), transfer_(std::move(transfer)) {
  refuse_unless_can_protect(station_.certificate);
}

Enrolled Client::enroll(const CertificateRequest& request, const Accept& accept) {
  Exchange exchange{.request = request,
                    .transfer = transfer_,
                    .accept = accept,
                    .enrolled = {},
                    .exception = {},
                    .rejection = {}};
  CmpCtxPtr context = make_context(station_, ca_, exchange);
  take_openssl_errors();
  // Not OSSL_CMP_exec_certreq: that one sleeps for as long as the other side asks it to.
  bool done = OSSL_CMP_try_certreq(context.get(), OSSL_CMP_P10CR, nullptr, nullptr) == 1;
  if (exchange.exception) {
    take_openssl_errors();
    std::rethrow_exception(exchange.exception);
  }
  if (!done || !exchange.enrolled) throw failure_of(context.get(), exchange);
  return std::move(*exchange.enrolled);
}

Bytes request_message(const Identity& station, const Certificate& ca, const CertificateRequest& request) {
  struct Caught {};
  Bytes caught;
  Client client(station, ca, [&](BytesView message) -> Bytes {
    caught.assign(message.begin(), message.end());
    throw Caught();
  });
  try {
    client.enroll(request, [](const Enrolled&) {});
  } catch (const Caught&) {
    // It is what was wanted.
  }
  return caught;
}

}  // namespace fleetroot::cmp
