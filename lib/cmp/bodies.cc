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
constexpr std::uint8_t kIssuerTag = der::context_tag(3);  // of a CertTemplate
constexpr std::uint8_t kSubjectTag = der::context_tag(5);
constexpr std::uint8_t kPublicKeyTag = der::context_tag(6);
constexpr std::uint8_t kSignatureTag = der::context_tag(1);      // of a ProofOfPossession
constexpr std::uint8_t kDirectoryNameTag = der::context_tag(4);  // of a GeneralName
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

// A CertTemplate (RFC 4211 section 5): the contents of those of its fields that anybody here reads.
struct Template {
  std::optional<BytesView> serial, issuer, subject, public_key;
};

Template read_template(der::Reader fields) {
  constexpr std::uint8_t kSerialNumber = 0x81;  // [1] IMPLICIT INTEGER
  Template result;
  int last = -1;
  while (!fields.at_end()) {
    der::Element field = fields.take();
    int number = field.tag & 0x1f;
    // A field given twice could be read one way here and another way elsewhere.
    if (number <= last) throw kNotAMessage.error("the fields of a certificate are out of order");
    last = number;
    if (field.tag == kSerialNumber) result.serial = field.content;
    if (field.tag == kIssuerTag) result.issuer = field.content;
    if (field.tag == kSubjectTag) result.subject = field.content;
    if (field.tag == kPublicKeyTag) result.public_key = field.content;
  }
  return result;
}

CertificateName certificate_name(std::optional<BytesView> issuer, std::optional<BytesView> serial) {
  bool is_named = serial && issuer && !serial->empty() && (*serial)[0] < 0x80;
  if (!is_named) throw kNotAMessage.error("it names no certificate by its issuer and serial number");
  return {.issuer = {issuer->begin(), issuer->end()}, .serial = SerialNumber::from_hex(to_hex(*serial))};
}

const Bytes& old_certificate_id() {
  static const Bytes kOldCertificateId =
      der::object_identifier("1.3.6.1.5.5.7.5.1.5");  // RFC 4211 section 6.5
  return kOldCertificateId;
}

// The Controls of a CertRequest; of those that are not ours none can be critical.
std::optional<CertificateName> read_old_certificate(der::Reader controls) {
  std::optional<CertificateName> old;
  while (!controls.at_end()) {
    der::Reader control = controls.enter(der::kSequence, "a control");
    bool is_old_certificate = equal(control.take().whole, old_certificate_id());
    der::Element value = control.take();
    control.refuse_more("a control");
    if (!is_old_certificate) continue;
    if (old) throw kNotAMessage.error("it names the certificate to replace twice");
    der::Reader name(value.content, kNotAMessage);
    BytesView issuer = name.take(kDirectoryNameTag, "the issuer of a certificate");
    BytesView serial = name.take(der::kInteger, "a serial number");
    name.refuse_more("the name of a certificate");
    old = certificate_name(issuer, serial);
  }
  return old;
}

// The signature over the CertRequest by the key that it asks for (RFC 4211 section 4.1).
void refuse_unless_proven(const PublicKey& key, BytesView request, std::optional<BytesView> proof) {
  bool is_proven = false;
  if (proof) {
    der::Reader parts(*proof, kNotAMessage);
    // poposkInput would be here, for requests that say less than is needed.
    BytesView algorithm = parts.take().whole;
    is_proven = is_signed_by(key, algorithm, request, parts.take_octet_bits("its signature"));
    parts.refuse_more("the proof of possession");
  }
  if (is_proven) return;
  throw Error(ErrorCode::bad_request, "the request is not signed with the key that it asks a certificate for",
              "make the request with the station's own key");
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

Bytes encode(const KeyUpdateRequest& request, EVP_PKEY* key) {
  BytesView spki = request.public_key.spki();
  BytesView key_fields = der::Reader(spki, kNotAMessage).take(der::kSequence, "a public key");
  Bytes subject = request.subject.empty() ? Bytes() : der::tagged(kSubjectTag, request.subject);
  Bytes controls;
  if (request.replaces) {
    controls = der::sequence(
        {der::sequence({old_certificate_id(),
                        der::sequence({der::tagged(kDirectoryNameTag, request.replaces->issuer),
                                       to_der(i2d_ASN1_INTEGER, request.replaces->serial.asn1().get())})})});
  }
  Bytes certificate_request =
      der::sequence({encode_request_id(request.request_id),
                     der::sequence({subject, der::tagged(kPublicKeyTag, key_fields)}), controls});
  KeyAlgorithm algorithm = request.public_key.algorithm();
  Bytes signature = der::bit_string(sign_message(key, algorithm, certificate_request));
  Bytes proof =
      der::tagged(kSignatureTag, der::concatenated({algorithm_identifier_of(algorithm), signature}));
  return der::sequence({der::sequence({certificate_request, proof})});
}

KeyUpdateRequest parse_key_update_request(BytesView body) {
  der::Reader outer(body, kNotAMessage);
  der::Reader list = outer.enter(der::kSequence, "the request for renewal");
  outer.refuse_more("the request for renewal");
  der::Reader one = list.enter(der::kSequence, "the renewal of one certificate");
  list.refuse_more("the renewal of one certificate");
  der::Element certificate_request = one.take();
  std::optional<BytesView> proof = one.take_if(kSignatureTag);
  one.take_if(der::kSequence);  // regInfo
  one.refuse_more("the renewal of one certificate");

  if (certificate_request.tag != der::kSequence) throw kNotAMessage.error("the request is no sequence");
  der::Reader fields(certificate_request.content, kNotAMessage);
  int request_id = fields.take_small_integer("the number of the request");
  Template wanted = read_template(fields.enter(der::kSequence, "what is asked for"));
  std::optional<BytesView> controls = fields.take_if(der::kSequence);
  fields.refuse_more("the request");
  if (!wanted.public_key) throw kNotAMessage.error("it has no public key");
  PublicKey key = PublicKey::from_spki(der::tagged(der::kSequence, *wanted.public_key));
  refuse_unless_proven(key, certificate_request.whole, proof);
  BytesView subject = wanted.subject.value_or(BytesView());
  return {.request_id = request_id,
          .subject = {subject.begin(), subject.end()},
          .public_key = std::move(key),
          .replaces = controls ? read_old_certificate(der::Reader(*controls, kNotAMessage)) : std::nullopt};
}

RevocationRequest parse_revocation_request(BytesView body) {
  der::Reader outer(body, kNotAMessage);
  der::Reader list = outer.enter(der::kSequence, "the request for revocation");
  outer.refuse_more("the request for revocation");
  der::Reader one = list.enter(der::kSequence, "the revocation of one certificate");
  list.refuse_more("the revocation of one certificate");
  Template named = read_template(one.enter(der::kSequence, "which certificate"));
  RevocationRequest request{.certificate = certificate_name(named.issuer, named.serial)};
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
