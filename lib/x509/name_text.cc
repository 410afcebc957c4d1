#include "lib/x509/name_text.h"

#include "lib/x509/pem.h"

namespace fleetroot {

std::optional<std::string> single_common_name(const X509_NAME* name) {
  int position = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (position < 0 || X509_NAME_get_index_by_NID(name, NID_commonName, position) >= 0) return std::nullopt;
  unsigned char* utf8 = nullptr;
  int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, position)));
  if (size < 0) {
    take_openssl_errors();
    return std::nullopt;
  }
  std::string text(reinterpret_cast<char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  if (text.find('\0') != std::string::npos) return std::nullopt;
  return text;
}

std::string one_line(const X509_NAME* name) {
  BioPtr memory(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(memory.get(), name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
  return text_in(memory.get());
}

}  // namespace fleetroot
