// What both ends of a TLS connection are set up with: TLS 1.3 and 1.2, forward secrecy and authenticated
// encryption only, no renegotiation, no compression, no resumption. Every connection is a full handshake, so
// that nobody gets past a check that has become stricter meanwhile.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "lib/http/message.h"
#include "lib/x509/certificate.h"

namespace fleetroot::http {

struct TlsIdentity {
  std::vector<Certificate> chain;  // our own certificate first
  // Not owned; may be a key in a token. A server signs with it from several threads at once.
  EVP_PKEY* key = nullptr;
};

enum class ClientCertificate { none, optional, required };

// Decides about a client's certificate in the middle of the handshake, alone: the library has checked nothing
// of it, not even its signature. Throws Error to refuse; whoever wants the reason logged logs it there.
// That the client holds the key is proven only afterwards, so nothing may be changed here but the peer's
// client and note. Called from several threads at once; not called for a client without certificate.
using PeerCheck = std::function<void(Peer& peer)>;
// Called once the client has proven that it holds the key, before its first request is read. Throws Error to
// end the connection. From several threads at once; may block, as a handler may.
using PeerArrival = std::function<void(const Peer& peer)>;

struct ServerTls {
  TlsIdentity identity;
  ClientCertificate client_certificate = ClientCertificate::none;
  PeerCheck check{};
  PeerArrival arrival{};
};

struct ClientTls {
  // The chain that the server sends must end in one of these, and its certificate name the URL's host.
  std::vector<Certificate> roots;
  std::optional<TlsIdentity> identity{};
};

}  // namespace fleetroot::http
