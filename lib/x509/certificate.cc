#include "lib/x509/certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "lib/x509/name_text.h"
#include "lib/x509/openssl_context.h"
#include "lib/x509/pem.h"

namespace fleetroot {
namespace {

std::string hex_of(const ASN1_OCTET_STRING* octets) {
  if (octets == nullptr) return {};
  return to_hex({ASN1_STRING_get0_data(octets), static_cast<std::size_t>(ASN1_STRING_length(octets))});
}

Error not_a_certificate() {
  return openssl_error(ErrorCode::bad_request, "this is not a certificate",
                       "give one X.509 certificate, PEM or DER");
}

// `parse` fills an X509 of our context, as OpenSSL's readers do: it frees what it cannot fill, or leaves it
// alone.
template <typename Parse>
X509Ptr parse_certificate(const Parse& parse) {
  X509* certificate = X509_new_ex(openssl_context(), nullptr);
  if (parse(&certificate) == nullptr) {
    X509_free(certificate);
    return nullptr;
  }
  return X509Ptr(certificate);
}

X509Ptr next_in(BIO* pem) {
  return parse_certificate(
      [&](X509** certificate) { return PEM_read_bio_X509(pem, certificate, no_pass_phrase, nullptr); });
}

// What is no PEM text may be DER.
Certificate alone_in(std::string_view bytes) {
  ERR_clear_error();
  return Certificate::from_der(as_bytes(bytes));
}

}  // namespace

Certificate Certificate::from_der(BytesView der) {
  const unsigned char* in = der.data();
  X509Ptr certificate =
      parse_certificate([&](X509** empty) { return d2i_X509(empty, &in, static_cast<long>(der.size())); });
  if (!certificate || in != der.data() + der.size()) throw not_a_certificate();
  return Certificate(std::move(certificate));
}

Certificate Certificate::fields_from_der(BytesView der) {
  const unsigned char* in = der.data();
  X509Ptr certificate(parse_without_keys<X509>(ASN1_ITEM_rptr(X509), &in, static_cast<long>(der.size())));
  if (!certificate || in != der.data() + der.size()) throw not_a_certificate();
  return Certificate(std::move(certificate));
}

Certificate Certificate::from_pem(std::string_view pem) {
  BioPtr memory = pem_reader(pem);
  X509Ptr certificate = next_in(memory.get());
  if (!certificate) return alone_in(pem);
  X509Ptr another = next_in(memory.get());
  take_openssl_errors();
  if (another)
    throw Error(ErrorCode::bad_request, "there is more than one certificate here", "give one certificate");
  return Certificate(std::move(certificate));
}

std::vector<Certificate> Certificate::list_from_pem(std::string_view pem) {
  BioPtr memory = pem_reader(pem);
  std::vector<Certificate> certificates;
  while (X509Ptr certificate = next_in(memory.get())) certificates.emplace_back(std::move(certificate));
  if (certificates.empty()) return {alone_in(pem)};
  bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (!at_end) throw not_a_certificate();
  ERR_clear_error();
  return certificates;
}

Certificate::Certificate(X509Ptr certificate) : certificate_(std::move(certificate)) {}

Certificate::Certificate(const Certificate& other) : certificate_(other.x509()) {
  X509_up_ref(certificate_.get());
}

Certificate& Certificate::operator=(const Certificate& other) {
  *this = Certificate(other);
  return *this;
}

Bytes Certificate::der() const {
  return to_der(i2d_X509, x509());
}

std::string Certificate::pem() const {
  BioPtr memory(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(memory.get(), x509());
  return text_in(memory.get());
}

std::optional<std::string> Certificate::common_name() const {
  return single_common_name(X509_get_subject_name(x509()));
}

std::string Certificate::subject() const {
  return one_line(X509_get_subject_name(x509()));
}

std::string Certificate::issuer() const {
  return one_line(X509_get_issuer_name(x509()));
}

PublicKey Certificate::public_key() const {
  return PublicKey::from_spki(spki());
}

Bytes Certificate::spki() const {
  return to_der(i2d_X509_PUBKEY, X509_get_X509_PUBKEY(x509()));
}

Time Certificate::not_before() const {
  return to_time(X509_get0_notBefore(x509()));
}

Time Certificate::not_after() const {
  return to_time(X509_get0_notAfter(x509()));
}

// What basicConstraints says. X509_check_ca() takes one whose keyUsage lacks keyCertSign for none.
bool Certificate::is_ca() const {
  return (X509_get_extension_flags(x509()) & EXFLAG_CA) != 0;
}

bool Certificate::is_self_signed() const {
  if (X509_self_signed(x509(), 1) == 1) return true;
  take_openssl_errors();
  return false;
}

std::string Certificate::subject_key_identifier() const {
  return hex_of(X509_get0_subject_key_id(x509()));
}

std::string Certificate::authority_key_identifier() const {
  return hex_of(X509_get0_authority_key_id(x509()));
}

bool Certificate::has_extended_key_usage(int nid) const {
  using UsagesPtr = std::unique_ptr<EXTENDED_KEY_USAGE, FreeWith<EXTENDED_KEY_USAGE_free>>;
  UsagesPtr usages(
      static_cast<EXTENDED_KEY_USAGE*>(X509_get_ext_d2i(x509(), NID_ext_key_usage, nullptr, nullptr)));
  for (int i = 0; usages && i < sk_ASN1_OBJECT_num(usages.get()); ++i) {
    if (OBJ_obj2nid(sk_ASN1_OBJECT_value(usages.get(), i)) == nid) return true;
  }
  return false;
}

X509StackPtr to_stack(const std::vector<Certificate>& certificates) {
  X509StackPtr stack(sk_X509_new_null());
  for (const Certificate& certificate : certificates) {
    X509_up_ref(certificate.x509());
    sk_X509_push(stack.get(), certificate.x509());
  }
  return stack;
}

std::string to_pem(const std::vector<Certificate>& certificates) {
  std::string pem;
  for (const Certificate& certificate : certificates) pem += certificate.pem();
  return pem;
}

}  // namespace fleetroot
