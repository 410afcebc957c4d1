#include "lib/x509/certs_only.h"

#include <openssl/pkcs7.h>

#include "lib/base/error.h"

namespace fleetroot {
namespace {

using Pkcs7Ptr = std::unique_ptr<PKCS7, FreeWith<PKCS7_free>>;

Error not_certificates(std::string why) {
  return {ErrorCode::protocol, "the answer is no list of certificates as EST has it",
          "check the CA's address: is it EST that is spoken there?", std::move(why)};
}

}  // namespace

Bytes encode_certs_only(const std::vector<Certificate>& certificates) {
  Pkcs7Ptr pkcs7(PKCS7_new());
  bool good = pkcs7 && PKCS7_set_type(pkcs7.get(), NID_pkcs7_signed) == 1 &&
              PKCS7_content_new(pkcs7.get(), NID_pkcs7_data) == 1 && PKCS7_set_detached(pkcs7.get(), 1) == 1;
  for (const Certificate& certificate : certificates) {
    good = good && PKCS7_add_certificate(pkcs7.get(), certificate.x509()) == 1;
  }
  if (!good) throw openssl_error(ErrorCode::internal, "cannot make a PKCS#7 structure", "report this");
  std::string text = to_base64(to_der(i2d_PKCS7, static_cast<const PKCS7*>(pkcs7.get())));
  return {text.begin(), text.end()};
}

std::vector<Certificate> parse_certs_only(BytesView text) {
  std::optional<Bytes> der = from_wrapped_base64(text);
  if (!der) throw not_certificates("it is not in base64");
  const unsigned char* position = der->data();
  Pkcs7Ptr pkcs7(d2i_PKCS7(nullptr, &position, static_cast<long>(der->size())));
  bool is_signed_data = pkcs7 && position == der->data() + der->size() && PKCS7_type_is_signed(pkcs7.get()) &&
                        pkcs7->d.sign != nullptr;
  take_openssl_errors();
  if (!is_signed_data) throw not_certificates("it is no PKCS#7 of certificates");
  std::vector<Certificate> certificates;
  for (int i = 0; i < sk_X509_num(pkcs7->d.sign->cert); ++i) {
    // Read anew, as every certificate from outside is.
    const X509* certificate = sk_X509_value(pkcs7->d.sign->cert, i);
    try {
      certificates.push_back(Certificate::from_der(to_der(i2d_X509, certificate)));
    } catch (const Error& error) {
      throw not_certificates(error.what());  // and nothing against whoever asked
    }
  }
  return certificates;
}

}  // namespace fleetroot
