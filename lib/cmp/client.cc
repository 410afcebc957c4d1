#include "lib/cmp/client.h"

#include <algorithm>

#include "lib/cmp/refusal.h"

namespace fleetroot::cmp {
namespace {

Error not_confirmed(std::string why) {
  return {ErrorCode::ca_unreachable, "the certificate is in place, but the CA did not confirm that it knows",
          "run the same command again: it resumes", std::move(why)};
}

// Parses only what is not known.
void append_new(std::vector<Certificate>& list, const std::vector<BytesView>& certificates,
                const Certificate& known) {
  for (BytesView der : certificates) {
    auto is_it = [&](const Certificate& certificate) { return equal(certificate.der(), der); };
    if (std::any_of(list.begin(), list.end(), is_it)) continue;
    list.push_back(is_it(known) ? known : Certificate::from_der(der));
  }
}

void refuse_unless_for(const Bytes& spki, const Certificate& certificate) {
  if (certificate.spki() == spki) return;
  throw Error(ErrorCode::certificate_rejected, "the CA sent a certificate for another key than the requested",
              "put the device aside and have the CA's ledger checked");
}

std::vector<Bytes> encoded(const std::vector<Certificate>& certificates) {
  std::vector<Bytes> result;
  for (const Certificate& certificate : certificates) result.push_back(certificate.der());
  return result;
}

}  // namespace

// The CA's answer, believed: the views refer to `bytes`, which moving leaves where they are.
struct Client::Answer {
  Bytes bytes;
  Message message;
  CertificateResponse response;  // of a cp or kup
};

Client::Client(Identity station, Certificate ca, Transfer transfer)
    : station_(std::move(station)),
      signer_(station_.certificate, station_.key),
      ca_(std::move(ca)),
      ca_key_(ca_.public_key()),
      transfer_(std::move(transfer)) {
  // RFC 9483 section 3.3 wants the station's chain sent. What the CA is pinned to it has itself.
  std::erase(station_.chain, ca_);
}

Client::PendingRequest Client::begin(const CertificateRequest& request) const {
  return begin(
      BodyType::p10cr, [&] { return request.der(); },
      to_der(i2d_X509_PUBKEY, X509_REQ_get_X509_PUBKEY(request.x509_req())));
}

Client::PendingRequest Client::begin(BodyType type, const std::function<Bytes()>& body,
                                     Bytes public_key) const {
  PendingRequest pending{.message = {}, .exchange = {}, .public_key = std::move(public_key)};
  Header header = pending.exchange.header_to(general_name_of(ca_));
  bool is_sound = false;
  std::string cause;
  try {
    pending.message = signer_.encode(std::move(header), type, body(), encoded(station_.chain));
    is_sound = is_protected_by(parse_message(pending.message), signer_.public_key());
  } catch (const Error& error) {
    cause = error.what();
  }
  if (is_sound) return pending;
  throw Error(ErrorCode::configuration, "the station's key cannot sign the request",
              "check that the station's token is there and that its certificate is for its key", cause);
}

// Signed by the pinned CA, and the answer to this very message (RFC 9483 section 3.5). Throws what it refuses
// with.
Client::Answer Client::read_answer(const PendingRequest& pending, BytesView bytes) const {
  Bytes own(bytes.begin(), bytes.end());
  Message message = parse_message(own);
  if (!is_protected_by(message, ca_key_))
    throw unbelievable_answer("it is not signed with the pinned CA's key");
  CertificateResponse response = response_in(message, pending.exchange);
  return {.bytes = std::move(own), .message = std::move(message), .response = std::move(response)};
}

Enrolled Client::certificates_in(const Answer& answer) const {
  try {
    Enrolled enrolled{.certificate = Certificate::from_der(answer.response.certificate), .chain = {}};
    append_new(enrolled.chain, answer.response.publications, ca_);
    append_new(enrolled.chain, answer.message.extra_certificates, ca_);
    return enrolled;
  } catch (const Error& error) {
    throw unbelievable_answer(error.what());
  }
}

// Tells the CA what became of the certificate, and hears that it knows; or what it says instead.
std::optional<Error> Client::confirm(const Answer& answer, const StatusInfo& outcome) const {
  CertificateConfirmation confirmation{.request_id = answer.response.request_id,
                                       .hash = certificate_hash(answer.response.certificate),
                                       .status = outcome};
  PendingRequest pending{
      .message = {}, .exchange = {.transaction_id = answer.message.header.transaction_id}, .public_key = {}};
  Header header = pending.exchange.header_to(general_name_of(ca_));
  header.recipient_nonce = answer.message.header.sender_nonce;
  pending.message =
      signer_.encode(std::move(header), BodyType::cert_conf, encode(confirmation), encoded(station_.chain));
  Bytes bytes = transfer_(pending.message);
  std::string why = "it sent something else";
  try {
    if (read_answer(pending, bytes).message.type == BodyType::pki_conf) return std::nullopt;
  } catch (const Error& error) {
    why = error.what();
  }
  return not_confirmed(std::move(why));
}

// What made the station reject it is what its caller has to hear, whether or not the CA has heard.
void Client::reject(const Answer& answer, std::string why) const {
  try {
    (void)confirm(answer, rejection(std::move(why), Failure::incorrect_data));
  } catch (const std::exception&) {
    return;
  }
}

Enrolled Client::enroll(const CertificateRequest& request, const Accept& accept) {
  return finish(begin(request), BodyType::cp, accept);
}

Enrolled Client::renew(const Accept& accept) {
  KeyUpdateRequest request{.request_id = 0,
                           .subject = subject_of(station_.certificate),
                           .public_key = signer_.public_key(),
                           .replaces = CertificateName{.issuer = issuer_of(station_.certificate),
                                                       .serial = station_.certificate.serial()}};
  return finish(begin(
                    BodyType::kur, [&] { return encode(request, station_.key); }, request.public_key.spki()),
                BodyType::kup, accept);
}

Enrolled Client::finish(const PendingRequest& pending, BodyType answer_type, const Accept& accept) {
  Answer answer = read_answer(pending, transfer_(pending.message));
  if (answer.message.type != answer_type) throw unbelievable_answer("it is no certificate response");
  Enrolled enrolled = certificates_in(answer);
  try {
    refuse_unless_for(pending.public_key, enrolled.certificate);
    accept(enrolled);
  } catch (const Error& error) {
    // Of a token that was pulled out the CA does not hear: the same command again writes the certificate.
    if (error.code() == ErrorCode::certificate_rejected) reject(answer, encode_refusal(error));
    throw;
  }
  if (std::optional<Error> reason = confirm(answer, {})) confirm_anew(pending, answer, *reason);
  return enrolled;
}

// A CA that was started again meanwhile has forgotten the transaction. To the same message it gives the same
// certificate, in a transaction that it knows.
void Client::confirm_anew(const PendingRequest& pending, const Answer& first, const Error& reason) const {
  std::optional<Error> still = reason;
  try {
    Answer again = read_answer(pending, transfer_(pending.message));
    if (again.response.certificate == first.response.certificate) still = confirm(again, {});
  } catch (const Error&) {
  }
  if (still) throw Error(reason);
}

Bytes request_message(const Identity& station, const Certificate& ca, const CertificateRequest& request) {
  return Client(station, ca, {}).begin(request).message;
}

}  // namespace fleetroot::cmp
