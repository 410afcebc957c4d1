#include <arpa/inet.h>

#include "lib/http/tls_context.h"
#include "lib/x509/openssl_context.h"

namespace fleetroot::http {
namespace {

// A chain of four RSA certificates fits twice.
constexpr long kMaximumChainBytes = 16 * 1024;
// What SSL_set_app_data uses.
constexpr int kCheckIndex = 0;

Error cannot_begin() {
  return openssl_error(ErrorCode::internal, "cannot set up TLS", "report this");
}

SslCtxPtr make_sound_context(const SSL_METHOD* method) {
  SslCtxPtr context(SSL_CTX_new_ex(openssl_context(), nullptr, method));
  if (!context) throw cannot_begin();
  SSL_CTX* ctx = context.get();
  SSL_CTX_set_security_level(ctx, 2);
  bool good = SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
              SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1;
  if (!good) throw cannot_begin();
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                               SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(ctx, 0);
  // Ten thousand idle connections shall not hold ten thousand buffers.
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_max_cert_list(ctx, kMaximumChainBytes);
  return context;
}

void use_identity(SSL_CTX* context, const TlsIdentity& identity) {
  bool good = !identity.chain.empty() &&
              SSL_CTX_use_certificate(context, identity.chain.front().x509()) == 1 &&
              SSL_CTX_use_PrivateKey(context, identity.key) == 1 && SSL_CTX_check_private_key(context) == 1;
  for (std::size_t i = 1; good && i < identity.chain.size(); ++i) {
    good = SSL_CTX_add1_chain_cert(context, identity.chain[i].x509()) == 1;
  }
  if (!good) {
    throw openssl_error(ErrorCode::configuration, "the TLS certificate cannot be used with its key",
                        "check that the certificate was made for the key in the token");
  }
}

// Instead of OpenSSL's own path validation, which its owner does in the check.
int ask_check(X509_STORE_CTX* context, void*) {
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* check = static_cast<ChainCheck*>(SSL_get_ex_data(ssl, kCheckIndex));
  std::vector<Certificate> chain;
  STACK_OF(X509)* presented = X509_STORE_CTX_get0_untrusted(context);
  for (int i = 0; i < sk_X509_num(presented); ++i) {
    X509* certificate = sk_X509_value(presented, i);
    X509_up_ref(certificate);
    chain.emplace_back(X509Ptr(certificate));
  }
  if (check != nullptr && !chain.empty() && (*check)(std::move(chain))) return 1;
  X509_STORE_CTX_set_error(context, X509_V_ERR_CERT_REJECTED);
  return 0;
}

int verify_mode(ClientCertificate wanted) {
  switch (wanted) {
    case ClientCertificate::none:
      return SSL_VERIFY_NONE;
    case ClientCertificate::optional:
      return SSL_VERIFY_PEER;
    case ClientCertificate::required:
      return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  }
  return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
}

}  // namespace

SslCtxPtr make_context(const ServerTls& tls) {
  SslCtxPtr context = make_sound_context(TLS_server_method());
  use_identity(context.get(), tls.identity);
  if (tls.client_certificate != ClientCertificate::none && !tls.check) {
    throw Error(ErrorCode::internal, "a TLS server asks for certificates that nobody checks", "report this");
  }
  SSL_CTX_set_verify(context.get(), verify_mode(tls.client_certificate), nullptr);
  SSL_CTX_set_cert_verify_callback(context.get(), ask_check, nullptr);
  return context;
}

SslCtxPtr make_context(const ClientTls& tls) {
  SslCtxPtr context = make_sound_context(TLS_client_method());
  X509_STORE* store = SSL_CTX_get_cert_store(context.get());
  for (const Certificate& root : tls.roots) X509_STORE_add_cert(store, root.x509());
  X509_VERIFY_PARAM* parameters = SSL_CTX_get0_param(context.get());
  // What is pinned is pinned, self-signed or not.
  X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT | X509_V_FLAG_PARTIAL_CHAIN);
  X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  if (tls.identity) use_identity(context.get(), *tls.identity);
  return context;
}

SslPtr make_server_side(SSL_CTX* context, ChainCheck* check) {
  SslPtr ssl(SSL_new(context));
  if (!ssl) throw cannot_begin();
  SSL_set_ex_data(ssl.get(), kCheckIndex, check);
  SSL_set_accept_state(ssl.get());
  return ssl;
}

SslPtr make_client_side(SSL_CTX* context, const std::string& host) {
  SslPtr ssl(SSL_new(context));
  if (!ssl) throw cannot_begin();
  unsigned char address[sizeof(in6_addr)];
  bool is_address =
      inet_pton(AF_INET, host.c_str(), address) == 1 || inet_pton(AF_INET6, host.c_str(), address) == 1;
  X509_VERIFY_PARAM* parameters = SSL_get0_param(ssl.get());
  bool good = is_address ? X509_VERIFY_PARAM_set1_ip_asc(parameters, host.c_str()) == 1
                         : X509_VERIFY_PARAM_set1_host(parameters, host.c_str(), host.size()) == 1 &&
                               SSL_ctrl(ssl.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                                        const_cast<char*>(host.c_str())) == 1;
  if (!good) throw cannot_begin();
  SSL_set_connect_state(ssl.get());
  return ssl;
}

}  // namespace fleetroot::http
