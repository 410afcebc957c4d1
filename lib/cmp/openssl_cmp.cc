#include "lib/cmp/openssl_cmp.h"

#include "lib/x509/public_key.h"

namespace fleetroot::cmp {

CmpMessagePtr parse_openssl_message(BytesView der) {
  const unsigned char* in = der.data();
  CmpMessagePtr message(d2i_OSSL_CMP_MSG(nullptr, &in, static_cast<long>(der.size())));
  if (!message || in != der.data() + der.size()) {
    throw openssl_error(ErrorCode::protocol, "this is not a CMP message",
                        "check that the other side speaks CMP and that nothing in between changes its bytes");
  }
  return message;
}

void refuse_unless_can_protect(const Certificate& certificate) {
  if (digest_for(certificate.public_key().algorithm()) != nullptr) return;
  throw Error(ErrorCode::configuration,
              "the key of " + certificate.subject() + " is an Ed25519 key, which cannot sign CMP messages",
              "give stations and CAs P-256, P-384 or RSA keys; devices may have Ed25519 keys");
}

bool sign_as(OSSL_CMP_CTX* context, const Certificate& certificate, EVP_PKEY* key) {
  const EVP_MD* digest = digest_for(certificate.public_key().algorithm());
  return OSSL_CMP_CTX_set_log_verbosity(context, OSSL_CMP_LOG_EMERG) == 1 &&
         OSSL_CMP_CTX_set1_cert(context, certificate.x509()) == 1 &&
         OSSL_CMP_CTX_set1_pkey(context, key) == 1 &&
         OSSL_CMP_CTX_set_option(context, OSSL_CMP_OPT_DIGEST_ALGNID, EVP_MD_get_type(digest)) == 1;
}

}  // namespace fleetroot::cmp
