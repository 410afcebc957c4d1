// PKIMessages as bytes (RFC 4210 section 5.1, as RFC 9483 section 3 profiles it): the outer message, its
// header and its protection. Strict DER, of exactly the parts that certificates are asked for and revoked
// with; no policy. bodies.h has what is inside. Stock OpenSSL is the judge of it in the tests.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/x509/certificate.h"
#include "lib/x509/der.h"

namespace fleetroot::cmp {

// RFC 4210 section 5.1.2; other kinds of bodies keep their number.
enum class BodyType : std::uint8_t {
  cp = 3,
  p10cr = 4,
  kur = 7,
  kup = 8,
  rr = 11,
  rp = 12,
  pki_conf = 19,
  error = 23,
  cert_conf = 24
};

// Of transaction IDs and nonces (RFC 9483 section 3.1).
inline constexpr std::size_t kRandomSize = 16;

// Error(protocol), "this is not a CMP message: …"
extern const der::Blame kNotAMessage;

// For whom a registration authority asks (registration_authority.h).
struct Behalf {
  // Of the station, which has proven its key to the registration authority.
  Bytes certificate;
  // Where the request is in the station's own name: for its own next certificate, and not for a device's.
  bool may_renew = false;
};

struct Header {
  int version = 2;
  // GeneralNames, as DER.
  Bytes sender;
  Bytes recipient;
  // When it was made, if it says so readably. What is sent says when that is.
  std::optional<Time> message_time{};
  // AlgorithmIdentifier, as DER; empty where the message is not protected.
  Bytes protection_algorithm;
  // Empty where absent.
  Bytes sender_key_id;
  Bytes transaction_id;
  Bytes sender_nonce;
  Bytes recipient_nonce;
  // That no certConf will come (RFC 4210 section 5.1.1.1).
  bool implicit_confirm = false;
  std::optional<Behalf> behalf;
};

// A message that was read. The views refer to its bytes, which must outlive it.
struct Message {
  Header header;
  BodyType type;
  BytesView body;            // what the body's tag is around
  BytesView protected_part;  // header and body, as they came
  BytesView protection;      // signature or MAC; empty where the message is not protected
  // In DER. No signature covers them (RFC 4210 section 5.1).
  std::vector<BytesView> extra_certificates;
};

// Error(protocol) unless the bytes are exactly one PKIMessage, within kMaximumMessageSize.
Message parse_message(BytesView der);

// The number of a GeneralName that is a Name.
inline constexpr unsigned kDirectoryName = 4;

// A SEQUENCE OF certificates, as DER each. Error(protocol).
std::vector<BytesView> read_certificates(BytesView sequence);

// Whether the signature over header and body is this key's.
bool is_protected_by(const Message& message, const PublicKey& key);

// The other protection: a MAC, between those who share a secret (message_mac.h).
bool is_protected_by(const Message& message, std::string_view secret);
Bytes encode_with_secret(Header header, BodyType type, BytesView body, std::string_view secret);

// Who signs what is sent.
class MessageSigner {
 public:
  // `key` is not owned. Error(configuration) for an Ed25519 key: OpenSSL 3.0's CMP, which others speak to us
  // with, does not verify its signatures.
  MessageSigner(const Certificate& certificate, EVP_PKEY* key);

  const PublicKey& public_key() const { return public_key_; }
  const Bytes& certificate() const { return certificate_; }

  // A whole message: `header` gets sender, key identifier and algorithm of this signer, and the time. The
  // certificates follow its own. What the key says if it does not sign.
  Bytes encode(Header header, BodyType type, BytesView body,
               const std::vector<Bytes>& further_certificates = {}) const;

 private:
  EVP_PKEY* key_;
  PublicKey public_key_;
  Bytes certificate_;
  Bytes name_;
  Bytes key_id_;
};

// The names in a certificate, as DER: Name, and the subject's as a GeneralName.
Bytes subject_of(const Certificate& certificate);
Bytes issuer_of(const Certificate& certificate);
Bytes general_name_of(const Certificate& certificate);

}  // namespace fleetroot::cmp
