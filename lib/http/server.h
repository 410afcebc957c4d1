// The HTTP/1.1 server, with or without TLS. It keeps bad company away from good: everything is bounded, and
// when it is full the connections that only wait go first.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/files.h"
#include "lib/http/message.h"
#include "lib/http/tls.h"

namespace fleetroot::http {

struct Limits {
  std::size_t body = 1 << 20;     // bytes; 413 beyond
  std::size_t head = 8 << 10;     // bytes of request line and headers, or of one chunk's line; 431 beyond
  std::size_t header_count = 64;  // 431 beyond
  // From the connection to the end of the TLS handshake; from a request's first byte to the end of its
  // headers; from there to the end of its body; from the complete request to the handler's answer; for the
  // client to take the answer; between two requests.
  std::chrono::milliseconds handshake{10'000};
  std::chrono::milliseconds headers{10'000};
  std::chrono::milliseconds request_body{30'000};
  std::chrono::milliseconds answer{120'000};
  std::chrono::milliseconds writing{30'000};
  std::chrono::milliseconds idle{60'000};
  // Beyond these one that waits for its client gives way. First of those who have proven no certificate's
  // key, from the address that has most such connections, the one that has waited longest, or else one that
  // has not taken its answer for two seconds; a handshake in its first two seconds only where none of them
  // does anything else. Then of the others an idle one, then one that has not sent a complete request, then
  // one that has not taken its answer for two seconds. If all are being answered, the new one is closed.
  std::size_t connections = 2000;
  std::size_t connections_per_address = 2000;
  // Of one Peer::client, by those who have proven to be it.
  std::size_t connections_per_client = 2000;
  // How many servers of this process share its files: each takes no more than its part.
  std::size_t servers = 1;
  // 429 beyond; none: no limit. A second's worth may come at once.
  std::optional<unsigned> requests_per_second_per_address{};
};

// A socket that listens.
class Listener {
 public:
  // "127.0.0.1:8443", "[::1]:8443", "0.0.0.0:0", "localhost:0"; port 0: the system chooses.
  // Error(usage) if it is no such thing, Error(configuration) if the address cannot be had.
  static Listener bind(const std::string& address);

  // What it is bound to, with the port that was chosen: "127.0.0.1:41233".
  const std::string& address() const { return address_; }
  int fd() const { return socket_.get(); }
  FileDescriptor release() && { return std::move(socket_); }

 private:
  explicit Listener(FileDescriptor socket);
  FileDescriptor socket_;
  std::string address_;
};

// Answers one request, once, from any thread, also after the server or the connection is gone. One that dies
// without having been called answers 500.
class Reply {
 public:
  using Deliver = std::function<void(Response)>;
  explicit Reply(Deliver deliver) : deliver_(std::move(deliver)) {}
  Reply(Reply&& other) noexcept : deliver_(std::exchange(other.deliver_, nullptr)) {}
  Reply& operator=(Reply&&) = delete;
  ~Reply();
  void operator()(Response response);

 private:
  Deliver deliver_;
};

// Called on one of the server's threads, on several at once; the next request of the same connection comes
// after the reply. May block, at the expense of the other connections of its thread's time. What it throws is
// answered as 500.
using Handler = std::function<void(Request, Reply)>;

// What ended a connection, or a request, without the handler's knowledge. A check that refuses is none.
enum class Trouble {
  no_certificate,
  old_tls,
  handshake,
  slow_handshake,
  slow_request,
  bad_request,
  head_too_large,
  body_too_large
};
// From several threads at once; soon done, and throws nothing.
using TroubleListener = std::function<void(const Peer& peer, Trouble trouble, const std::string& words)>;

struct ServerSettings {
  std::vector<Listener> listeners;
  std::optional<ServerTls> tls{};
  Limits limits{};
  unsigned threads = 2;
  TroubleListener on_trouble{};
};

// Serves from construction on. SIGPIPE must be ignored (harden_process() does).
class Server {
 public:
  Server(ServerSettings settings, Handler handler);
  // stop() without grace.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // In the order of the listeners.
  const std::vector<std::string>& addresses() const;

  // For connections from now on; only for a server that was made with TLS.
  void use(const ServerTls& tls);
  // Closes every connection whose peer is one of these. A connection whose check ran before this call is
  // already among those that are asked about: revoke first, then call, and nobody slips through.
  void close_connections(const std::function<bool(const Peer&)>& is_meant);
  std::size_t connection_count() const;

  // Accepts nothing more, closes idle connections, and finishes what has begun, for at most `grace`. Returns
  // when all connections are gone and no handler runs.
  void stop(std::chrono::milliseconds grace);

 private:
  class State;
  // Shared with the replies that are still out, which may come back after the server has gone.
  std::shared_ptr<State> state_;
};

}  // namespace fleetroot::http
