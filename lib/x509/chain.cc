#include "lib/x509/chain.h"

#include <fmt/format.h>

#include "lib/x509/openssl_context.h"

namespace fleetroot {

std::vector<Certificate> verify_chain(const Certificate& leaf, const ChainQuestion& question) {
  X509StorePtr store(X509_STORE_new());
  for (const Certificate& root : question.roots) X509_STORE_add_cert(store.get(), root.x509());
  X509StackPtr intermediates = to_stack(question.intermediates);

  X509StoreCtxPtr context(X509_STORE_CTX_new_ex(openssl_context(), nullptr));
  if (X509_STORE_CTX_init(context.get(), store.get(), leaf.x509(), intermediates.get()) != 1) {
    throw openssl_error(ErrorCode::internal, "cannot start checking a certificate", "report this");
  }
  X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(parameters, question.time.time_since_epoch().count());
  X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT | X509_V_FLAG_PARTIAL_CHAIN);
  // 112 bits of security: no SHA-1, no RSA below 2048.
  X509_VERIFY_PARAM_set_auth_level(parameters, 2);
  if (question.purpose == ChainPurpose::tls_client) {
    X509_VERIFY_PARAM_set_purpose(parameters, X509_PURPOSE_SSL_CLIENT);
    X509_VERIFY_PARAM_set_trust(parameters, X509_TRUST_SSL_CLIENT);
  }
  if (X509_verify_cert(context.get()) != 1) {
    take_openssl_errors();
    int reason = X509_STORE_CTX_get_error(context.get());
    throw Error(ErrorCode::certificate_rejected,
                fmt::format("the certificate of {} does not chain to the pinned root", leaf.subject()),
                "check which CA and which Fleet Root are configured, and the clock",
                fmt::format("{} at depth {}", X509_verify_cert_error_string(reason),
                            X509_STORE_CTX_get_error_depth(context.get())));
  }
  std::vector<Certificate> path;
  STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(context.get());
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    X509* certificate = sk_X509_value(chain, i);
    X509_up_ref(certificate);
    path.emplace_back(X509Ptr(certificate));
  }
  return path;
}

bool has_issued(const Certificate& ca, const Certificate& certificate) {
  return X509_check_issued(ca.x509(), certificate.x509()) == X509_V_OK;
}

}  // namespace fleetroot
