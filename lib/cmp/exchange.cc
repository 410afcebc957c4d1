#include "lib/cmp/exchange.h"

#include "lib/cmp/refusal.h"

namespace fleetroot::cmp {
namespace {

std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) {
    if (!all.empty()) all += "; ";
    all += text;
  }
  return all;
}

// Why no certificate came.
Error refusal_in(const StatusInfo& status) {
  if (status.status == Status::waiting) {
    return {ErrorCode::configuration,
            "the CA makes the request wait for its decision, which is not supported",
            "have whoever runs the CA let it decide at once; then run the same command again"};
  }
  Error refusal = decode_refusal(joined(status.texts));
  if (is_about_the_ca(refusal.code())) {
    return {refusal.code(), "the CA cannot issue: " + refusal.message(),
            "on the CA's machine: " + refusal.hint()};
  }
  if (refusal.code() == ErrorCode::refused_by_ca && status.failure == Failure::bad_proof) {
    return {ErrorCode::bad_request, "the CA finds that the request's signature does not verify",
            "run the same command again; if it stays, the token's key is not what it says",
            refusal.message()};
  }
  return refusal;
}

}  // namespace

Header Exchange::header_to(Bytes recipient) const {
  Header header;
  header.recipient = std::move(recipient);
  header.transaction_id = transaction_id;
  header.sender_nonce = nonce;
  return header;
}

Error unbelievable_answer(std::string why) {
  return {ErrorCode::protocol, "the CA's answer is not one that may be believed",
          "check that the station was enrolled with the certificate of the CA that it talks to",
          std::move(why)};
}

CertificateResponse response_in(const Message& answer, const Exchange& exchange) {
  const Header& header = answer.header;
  if (header.version != 2) throw unbelievable_answer("it has another version");
  if (header.transaction_id != exchange.transaction_id)
    throw unbelievable_answer("it belongs to another transaction");
  if (header.recipient_nonce != exchange.nonce) throw unbelievable_answer("it answers another message");
  if (answer.type == BodyType::error) throw refusal_in(parse_error(answer.body));
  CertificateResponse response;
  if (answer.type == BodyType::cp || answer.type == BodyType::kup)
    response = parse_certificate_response(answer.body);
  if (!response.status.is_acceptance()) throw refusal_in(response.status);
  return response;
}

}  // namespace fleetroot::cmp
