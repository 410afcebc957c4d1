#include "lib/cmp/wire.h"

#include <fmt/format.h>

#include "lib/cmp/message.h"
#include "lib/cmp/message_mac.h"
#include "lib/x509/signature.h"

namespace fleetroot::cmp {

const der::Blame kNotAMessage{
    ErrorCode::protocol, "this is not a CMP message",
    "check that the other side speaks CMP and that nothing in between changes its bytes"};

namespace {

// The numbers of the optional fields of a PKIHeader, and of what follows the body.
enum HeaderField : std::uint8_t {
  kMessageTime = 0,
  kProtectionAlgorithm = 1,
  kSenderKeyId = 2,
  kTransactionId = 4,
  kSenderNonce = 5,
  kRecipientNonce = 6,
  kGeneralInfo = 8
};
constexpr std::uint8_t kProtection = der::context_tag(0);
constexpr std::uint8_t kExtraCertificates = der::context_tag(1);
constexpr unsigned kLastBody = 26;  // pollRep
constexpr std::string_view kImplicitConfirm = "1.3.6.1.5.5.7.4.13";
constexpr std::string_view kBehalf = "2.25.313920404878575223346196861072611574491";

Bytes octet_string_in(BytesView explicitly_tagged) {
  der::Reader reader(explicitly_tagged, kNotAMessage);
  BytesView octets = reader.take(der::kOctetString, "an identifier in its header");
  reader.refuse_more("an identifier in its header");
  return {octets.begin(), octets.end()};
}

// SEQUENCE { certificate Certificate, mayRenew BOOLEAN DEFAULT FALSE }
Behalf read_behalf(der::Reader value) {
  BytesView certificate = value.take().whole;
  constexpr const char* kWhat = "its information about a station";
  static const Bytes kTrue = der::boolean_true();
  bool may_renew = !value.at_end();
  if (may_renew && !equal(value.take().whole, kTrue))
    throw kNotAMessage.error("a default in it is spelled out");
  value.refuse_more(kWhat);
  return {.certificate = {certificate.begin(), certificate.end()}, .may_renew = may_renew};
}

// SEQUENCE OF InfoTypeAndValue. What else others say there nothing depends on.
void read_general_info(Header& header, BytesView content) {
  static const Bytes implicit_confirm = der::object_identifier(kImplicitConfirm);
  static const Bytes behalf = der::object_identifier(kBehalf);
  constexpr const char* kWhat = "the general information in its header";
  der::Reader outer(content, kNotAMessage);
  der::Reader list = outer.enter(der::kSequence, kWhat);
  outer.refuse_more(kWhat);
  while (!list.at_end()) {
    der::Reader info = list.enter(der::kSequence, kWhat);
    BytesView type = info.take().whole;
    if (equal(type, implicit_confirm)) header.implicit_confirm = true;
    if (equal(type, behalf)) header.behalf = read_behalf(info.enter(der::kSequence, kWhat));
  }
}

void read_field(Header& header, unsigned number, BytesView content) {
  switch (number) {
    case kMessageTime:
      header.message_time = der::parse_generalized_time(content);
      return;
    case kProtectionAlgorithm: {
      der::Reader reader(content, kNotAMessage);
      BytesView algorithm = reader.take().whole;
      reader.refuse_more("the algorithm of its protection");
      header.protection_algorithm.assign(algorithm.begin(), algorithm.end());
      return;
    }
    case kSenderKeyId:
      header.sender_key_id = octet_string_in(content);
      return;
    case kTransactionId:
      header.transaction_id = octet_string_in(content);
      return;
    case kSenderNonce:
      header.sender_nonce = octet_string_in(content);
      return;
    case kRecipientNonce:
      header.recipient_nonce = octet_string_in(content);
      return;
    case kGeneralInfo:
      read_general_info(header, content);
      return;
    default:  // a recipient's key and free text: nothing depends on them
      return;
  }
}

Header read_header(der::Reader fields) {
  Header header;
  header.version = fields.take_small_integer("its version");
  BytesView sender = fields.take().whole;
  BytesView recipient = fields.take().whole;
  header.sender.assign(sender.begin(), sender.end());
  header.recipient.assign(recipient.begin(), recipient.end());
  int last = -1;
  while (!fields.at_end()) {
    der::Element field = fields.take();
    int number = field.tag - der::context_tag(0);
    // A field given twice could be read one way here and another way elsewhere.
    if (number <= last || number > kGeneralInfo) {
      throw kNotAMessage.error("the fields of its header are out of order");
    }
    last = number;
    read_field(header, static_cast<unsigned>(number), field.content);
  }
  return header;
}

BytesView read_protection(BytesView explicitly_tagged) {
  der::Reader reader(explicitly_tagged, kNotAMessage);
  BytesView protection = reader.take_octet_bits("its protection");
  reader.refuse_more("its protection");
  return protection;
}

// ProtectedPart (RFC 4210 section 5.1.3): header and body, as they stand in the message.
Bytes to_sign(BytesView header_and_body) {
  return der::tagged(der::kSequence, header_and_body);
}

Bytes optional_field(HeaderField number, const Bytes& octets) {
  return octets.empty() ? Bytes() : der::explicit_tag(number, der::octet_string(octets));
}

Bytes encode_general_info(const Header& header) {
  Bytes list;
  if (header.implicit_confirm) {
    list = der::sequence({der::object_identifier(kImplicitConfirm), der::null()});
  }
  if (header.behalf) {
    Bytes may_renew = header.behalf->may_renew ? der::boolean_true() : Bytes();
    Bytes value = der::sequence({header.behalf->certificate, may_renew});
    list = der::concatenated({list, der::sequence({der::object_identifier(kBehalf), value})});
  }
  return list.empty() ? list : der::explicit_tag(kGeneralInfo, der::tagged(der::kSequence, list));
}

Bytes encode_header(const Header& header) {
  return der::sequence(
      {der::small_integer(static_cast<unsigned>(header.version)), header.sender, header.recipient,
       der::explicit_tag(kMessageTime, der::generalized_time(SystemClock().now())),
       der::explicit_tag(kProtectionAlgorithm, header.protection_algorithm),
       optional_field(kSenderKeyId, header.sender_key_id),
       optional_field(kTransactionId, header.transaction_id),
       optional_field(kSenderNonce, header.sender_nonce),
       optional_field(kRecipientNonce, header.recipient_nonce), encode_general_info(header)});
}

Bytes header_and_body_of(const Header& header, BodyType type, BytesView body) {
  return der::concatenated({encode_header(header), der::explicit_tag(static_cast<unsigned>(type), body)});
}

}  // namespace

Message parse_message(BytesView der) {
  if (der.size() > kMaximumMessageSize) {
    throw kNotAMessage.error(fmt::format("it is longer than {} bytes", kMaximumMessageSize));
  }
  der::Reader outer(der, kNotAMessage);
  der::Reader parts = outer.enter(der::kSequence, "its outer sequence");
  outer.refuse_more("it");

  der::Element header = parts.take();
  if (header.tag != der::kSequence) throw kNotAMessage.error("it does not begin with a header");
  der::Element body = parts.take();
  if (body.tag < der::context_tag(0) || body.tag > der::context_tag(kLastBody)) {
    throw kNotAMessage.error("it has no body");
  }
  Message message{.header = read_header(der::Reader(header.content, kNotAMessage)),
                  .type = static_cast<BodyType>(body.tag - der::context_tag(0)),
                  .body = body.content,
                  .protected_part = {header.whole.data(), header.whole.size() + body.whole.size()},
                  .protection = {},
                  .extra_certificates = {}};
  if (std::optional<BytesView> protection = parts.take_if(kProtection)) {
    message.protection = read_protection(*protection);
  }
  if (std::optional<BytesView> certificates = parts.take_if(kExtraCertificates)) {
    message.extra_certificates = read_certificates(*certificates);
  }
  parts.refuse_more("its last part");
  return message;
}

std::vector<BytesView> read_certificates(BytesView sequence) {
  der::Reader outer(sequence, kNotAMessage);
  der::Reader list = outer.enter(der::kSequence, "its list of certificates");
  outer.refuse_more("its list of certificates");
  std::vector<BytesView> certificates;
  while (!list.at_end()) certificates.push_back(list.take().whole);
  return certificates;
}

bool is_protected_by(const Message& message, const PublicKey& key) {
  return !message.protection.empty() && is_signed_by(key, message.header.protection_algorithm,
                                                     to_sign(message.protected_part), message.protection);
}

bool is_protected_by(const Message& message, std::string_view secret) {
  std::optional<Bytes> mac =
      mac_of(to_sign(message.protected_part), message.header.protection_algorithm, secret);
  return mac && mac->size() == message.protection.size() &&
         CRYPTO_memcmp(mac->data(), message.protection.data(), mac->size()) == 0;
}

Bytes encode_with_secret(Header header, BodyType type, BytesView body, std::string_view secret) {
  header.protection_algorithm = new_mac_algorithm();
  Bytes header_and_body = header_and_body_of(header, type, body);
  Bytes mac = mac_of(to_sign(header_and_body), header.protection_algorithm, secret).value();
  return der::sequence({header_and_body, der::tagged(kProtection, der::bit_string(mac))});
}

Bytes subject_of(const Certificate& certificate) {
  return to_der(i2d_X509_NAME, X509_get_subject_name(certificate.x509()));
}

Bytes issuer_of(const Certificate& certificate) {
  return to_der(i2d_X509_NAME, X509_get_issuer_name(certificate.x509()));
}

Bytes general_name_of(const Certificate& certificate) {
  return der::explicit_tag(kDirectoryName, subject_of(certificate));
}

MessageSigner::MessageSigner(const Certificate& certificate, EVP_PKEY* key)
    : key_(key),
      public_key_(certificate.public_key()),
      certificate_(certificate.der()),
      name_(general_name_of(certificate)),
      key_id_(from_hex(certificate.subject_key_identifier()).value_or(Bytes())) {
  if (digest_for(public_key_.algorithm()) != nullptr) return;
  throw Error(ErrorCode::configuration,
              "the key of " + certificate.subject() + " is an Ed25519 key, which cannot sign CMP messages",
              "give stations and CAs P-256, P-384 or RSA keys; devices may have Ed25519 keys");
}

Bytes MessageSigner::encode(Header header, BodyType type, BytesView body,
                            const std::vector<Bytes>& further_certificates) const {
  header.sender = name_;
  header.sender_key_id = key_id_;
  header.protection_algorithm = algorithm_identifier_of(public_key_.algorithm());
  Bytes header_and_body = header_and_body_of(header, type, body);
  Bytes signature = sign_message(key_, public_key_.algorithm(), to_sign(header_and_body));
  Bytes certificates = certificate_;
  for (const Bytes& certificate : further_certificates) {
    if (certificate != certificate_)
      certificates.insert(certificates.end(), certificate.begin(), certificate.end());
  }
  return der::sequence({header_and_body, der::tagged(kProtection, der::bit_string(signature)),
                        der::tagged(kExtraCertificates, der::tagged(der::kSequence, certificates))});
}

}  // namespace fleetroot::cmp
