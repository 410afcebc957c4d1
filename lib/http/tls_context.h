// OpenSSL's contexts for both ends. For this folder only.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "lib/http/tls.h"
#include "lib/x509/openssl.h"

namespace fleetroot::http {

using SslCtxPtr = std::unique_ptr<SSL_CTX, FreeWith<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, FreeWith<SSL_free>>;

// What a server's handshake asks about the chain that a client presents; the SSL's application data points to
// one where a client certificate is wanted. False refuses.
using ChainCheck = std::function<bool(std::vector<Certificate> chain)>;

// Error(configuration) if certificate and key do not belong together.
SslCtxPtr make_context(const ServerTls& tls);
SslCtxPtr make_context(const ClientTls& tls);
SslPtr make_server_side(SSL_CTX* context, ChainCheck* check);
SslPtr make_client_side(SSL_CTX* context, const std::string& host);

}  // namespace fleetroot::http
