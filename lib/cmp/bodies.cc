#include "lib/cmp/bodies.h"

#include <bit>

#include "lib/cmp/wire.h"
#include "lib/x509/signature.h"

namespace fleetroot::cmp {
namespace {

constexpr unsigned kPublications = 1;                         // of a CertRepMessage
constexpr unsigned kPlainCertificate = 0;                     // of a CertOrEncCert
constexpr std::uint8_t kPrivateKeyTag = der::context_tag(0);  // of a CertifiedKeyPair
constexpr std::uint8_t kPublicationTag = der::context_tag(1);
constexpr std::uint8_t kHashAlgorithmTag = der::context_tag(0);  // of a CertStatus (RFC 9480 section 2.10)

Bytes free_text(const std::vector<std::string>& texts) {
  Bytes strings;
  for (const std::string& text : texts) {
    Bytes string = der::utf8_string(text);
    strings.insert(strings.end(), string.begin(), string.end());
  }
  return texts.empty() ? Bytes() : der::tagged(der::kSequence, strings);
}

std::vector<std::string> read_free_text(der::Reader strings) {
  std::vector<std::string> texts;
  while (!strings.at_end()) texts.emplace_back(as_text(strings.take(der::kUtf8String, "a text")));
  return texts;
}

Bytes encode(const StatusInfo& info) {
  Bytes failure =
      info.failure ? der::named_bits(0x80000000U >> static_cast<unsigned>(*info.failure)) : Bytes();
  return der::sequence(
      {der::small_integer(static_cast<unsigned>(info.status)), free_text(info.texts), failure});
}

std::optional<Failure> read_failure(BytesView bit_string) {
  for (std::size_t i = 1; i < bit_string.size(); ++i) {
    if (bit_string[i] == 0) continue;
    return static_cast<Failure>(8 * (i - 1) + static_cast<std::size_t>(std::countl_zero(bit_string[i])));
  }
  return std::nullopt;
}

StatusInfo read_status(der::Reader fields) {
  StatusInfo info{
      .status = static_cast<Status>(fields.take_small_integer("a status")), .texts = {}, .failure = {}};
  if (std::optional<BytesView> texts = fields.take_if(der::kSequence)) {
    info.texts = read_free_text(der::Reader(*texts, kNotAMessage));
  }
  if (std::optional<BytesView> failure = fields.take_if(der::kBitString))
    info.failure = read_failure(*failure);
  fields.refuse_more("a status");
  return info;
}

Bytes encode_request_id(int id) {
  return id < 0 ? Bytes{der::kInteger, 1, static_cast<std::uint8_t>(id)}
                : der::small_integer(static_cast<unsigned>(id));
}

// The reasonCode among the extensions of a CRL entry (RFC 5280 section 5.3.1).
RevocationReason read_reason(der::Reader extensions) {
  static const Bytes kReasonCode = der::object_identifier("2.5.29.21");
  constexpr std::uint8_t kBoolean = 0x01;
  constexpr std::uint8_t kEnumerated = 0x0a;
  RevocationReason reason = RevocationReason::unspecified;
  while (!extensions.at_end()) {
    der::Reader extension = extensions.enter(der::kSequence, "an extension");
    bool is_reason = equal(extension.take().whole, kReasonCode);
    bool is_critical = extension.take_if(kBoolean).has_value();
    der::Reader value = extension.enter(der::kOctetString, "the value of an extension");
    extension.refuse_more("an extension");
    if (!is_reason && is_critical) throw kNotAMessage.error("it has a critical extension that is not known");
    if (!is_reason) continue;
    BytesView code = value.take(kEnumerated, "the reason of a revocation");
    if (code.size() != 1) throw kNotAMessage.error("the reason of a revocation is out of range");
    reason = revocation_reason_from_code(code[0]);
  }
  return reason;
}

// Of a CertTemplate (RFC 4211 section 5): the two fields that name a certificate.
RevocationRequest read_certificate_name(der::Reader fields) {
  constexpr std::uint8_t kSerialNumber = 0x81;  // [1] IMPLICIT INTEGER
  constexpr std::uint8_t kIssuer = der::context_tag(3);
  std::optional<BytesView> serial;
  std::optional<BytesView> issuer;
  int last = -1;
  while (!fields.at_end()) {
    der::Element field = fields.take();
    int number = field.tag & 0x1f;
    // A field given twice could be read one way here and another way elsewhere.
    if (number <= last) throw kNotAMessage.error("the fields that name a certificate are out of order");
    last = number;
    if (field.tag == kSerialNumber) serial = field.content;
    if (field.tag == kIssuer) issuer = field.content;
  }
  bool is_named = serial && issuer && !serial->empty() && (*serial)[0] < 0x80;
  if (!is_named) throw kNotAMessage.error("it names no certificate by its issuer and serial number");
  return {.issuer = {issuer->begin(), issuer->end()}, .serial = SerialNumber::from_hex(to_hex(*serial))};
}

BytesView read_key_pair(der::Reader fields) {
  der::Reader choice =
      fields.enter(der::context_tag(kPlainCertificate), "a certificate that is not encrypted");
  BytesView certificate = choice.take().whole;
  choice.refuse_more("a certificate");
  fields.take_if(kPrivateKeyTag);
  fields.take_if(kPublicationTag);
  fields.refuse_more("a certificate");
  return certificate;
}

}  // namespace

StatusInfo rejection(std::string text, Failure failure) {
  return {.status = Status::rejection, .texts = {std::move(text)}, .failure = failure};
}

Bytes encode(const CertificateResponse& response) {
  Bytes key_pair = response.certificate.empty()
                       ? Bytes()
                       : der::sequence({der::explicit_tag(kPlainCertificate, response.certificate)});
  Bytes one = der::sequence({encode_request_id(response.request_id), encode(response.status), key_pair});
  return der::sequence({der::sequence({one})});
}

CertificateResponse parse_certificate_response(BytesView body) {
  der::Reader outer(body, kNotAMessage);
  der::Reader fields = outer.enter(der::kSequence, "the certificate response");
  outer.refuse_more("the certificate response");
  CertificateResponse result;
  if (std::optional<BytesView> publications = fields.take_if(der::context_tag(kPublications))) {
    result.publications = read_certificates(*publications);
  }
  der::Reader responses = fields.enter(der::kSequence, "the list of responses");
  fields.refuse_more("the list of responses");
  der::Reader one = responses.enter(der::kSequence, "a response");
  responses.refuse_more("the response");
  result.request_id = one.take_small_integer("the number of the request");
  result.status = read_status(one.enter(der::kSequence, "the status"));
  if (std::optional<BytesView> key_pair = one.take_if(der::kSequence)) {
    BytesView certificate = read_key_pair(der::Reader(*key_pair, kNotAMessage));
    result.certificate.assign(certificate.begin(), certificate.end());
  }
  one.take_if(der::kOctetString);  // rspInfo
  one.refuse_more("the response");
  return result;
}

Bytes encode(const CertificateConfirmation& confirmation) {
  return der::sequence(
      {der::sequence({der::octet_string(confirmation.hash), encode_request_id(confirmation.request_id),
                      encode(confirmation.status)})});
}

std::optional<CertificateConfirmation> parse_certificate_confirmation(BytesView body) {
  der::Reader outer(body, kNotAMessage);
  der::Reader list = outer.enter(der::kSequence, "the confirmation");
  outer.refuse_more("the confirmation");
  if (list.at_end()) return std::nullopt;
  der::Reader one = list.enter(der::kSequence, "the confirmation of one certificate");
  list.refuse_more("the confirmation of one certificate");
  BytesView hash = one.take(der::kOctetString, "the certificate's hash");
  CertificateConfirmation confirmation{.request_id = 0, .hash = {hash.begin(), hash.end()}, .status = {}};
  confirmation.request_id = one.take_small_integer("the number of the request");
  if (std::optional<BytesView> status = one.take_if(der::kSequence)) {
    confirmation.status = read_status(der::Reader(*status, kNotAMessage));
  }
  one.take_if(kHashAlgorithmTag);
  one.refuse_more("the confirmation of one certificate");
  return confirmation;
}

RevocationRequest parse_revocation_request(BytesView body) {
  der::Reader outer(body, kNotAMessage);
  der::Reader list = outer.enter(der::kSequence, "the request for revocation");
  outer.refuse_more("the request for revocation");
  der::Reader one = list.enter(der::kSequence, "the revocation of one certificate");
  list.refuse_more("the revocation of one certificate");
  RevocationRequest request = read_certificate_name(one.enter(der::kSequence, "which certificate"));
  if (std::optional<BytesView> extensions = one.take_if(der::kSequence)) {
    request.reason = read_reason(der::Reader(*extensions, kNotAMessage));
  }
  one.refuse_more("the revocation of one certificate");
  return request;
}

Bytes encode_revocation_response(const StatusInfo& status) {
  return der::sequence({der::sequence({encode(status)})});
}

Bytes encode_error(const StatusInfo& status) {
  return der::sequence({encode(status)});
}

StatusInfo parse_error(BytesView body) {
  der::Reader outer(body, kNotAMessage);
  der::Reader fields = outer.enter(der::kSequence, "the error");
  outer.refuse_more("the error");
  StatusInfo info = read_status(fields.enter(der::kSequence, "the status"));
  fields.take_if(der::kInteger);
  if (std::optional<BytesView> details = fields.take_if(der::kSequence)) {
    for (std::string& text : read_free_text(der::Reader(*details, kNotAMessage))) {
      info.texts.push_back(std::move(text));
    }
  }
  fields.refuse_more("the error");
  return info;
}

Bytes encode_confirmed() {
  return {0x05, 0x00};
}

Bytes certificate_hash(BytesView certificate) {
  der::Reader outer(certificate, kNotAMessage);
  der::Reader parts = outer.enter(der::kSequence, "the certificate");
  parts.take();  // what is certified
  const EVP_MD* digest = digest_of_signature(parts.take().whole);
  if (digest == nullptr) throw kNotAMessage.error("its certificate has a signature of an unknown kind");
  Bytes hash(static_cast<std::size_t>(EVP_MD_get_size(digest)));
  EVP_Digest(certificate.data(), certificate.size(), hash.data(), nullptr, digest, nullptr);
  return hash;
}

}  // namespace fleetroot::cmp
