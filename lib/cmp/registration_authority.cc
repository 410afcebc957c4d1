#include "lib/cmp/registration_authority.h"

#include "lib/cmp/exchange.h"

namespace fleetroot::cmp {
namespace {

// Who shares a secret has no name to show (RFC 4210 section 5.1.1).
Bytes nobody() {
  return der::explicit_tag(kDirectoryName, der::sequence({}));
}

}  // namespace

RegistrationAuthority::RegistrationAuthority(const Certificate& ca, std::string secret)
    : ca_name_(general_name_of(ca)), secret_(std::move(secret)) {}

Bytes RegistrationAuthority::enroll(BytesView request, Behalf behalf, const Transfer& transfer) const {
  Exchange exchange;
  Header header = exchange.header_to(ca_name_);
  header.sender = nobody();
  header.implicit_confirm = true;
  header.behalf = std::move(behalf);
  Bytes bytes = transfer(encode_with_secret(std::move(header), BodyType::p10cr, request, secret_));
  Message answer = parse_message(bytes);
  if (!is_protected_by(answer, secret_)) throw unbelievable_answer("it is not protected with the secret");
  CertificateResponse response = response_in(answer, exchange);
  if (response.certificate.empty()) throw unbelievable_answer("it is no certificate response");
  return std::move(response.certificate);
}

}  // namespace fleetroot::cmp
