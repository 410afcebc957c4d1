// The HTTP/1.1 client, with or without TLS: one connection to one server, kept alive between requests. One
// thread.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "lib/http/message.h"
#include "lib/http/tls.h"
#include "lib/http/url.h"

namespace fleetroot::http {

struct Outgoing {
  std::string method = "GET";
  std::string path;  // with the query
  std::string content_type{};
  Bytes body{};
  std::vector<Header> headers{};
  // Whether the server takes it twice as it takes it once. If not, it goes over a new connection, where
  // nothing can be lost that would have to be sent again (RFC 9110 section 9.2.2).
  bool may_repeat = true;
};

class Client {
 public:
  static constexpr std::size_t kMaximumBody = 16 << 20;

  // Connects when first used. Only host and port of `url` count. `tls` is needed for https and refused for
  // http: Error(usage). SIGPIPE must be ignored (harden_process() does).
  Client(const Url& url, std::optional<ClientTls> tls);
  ~Client();
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;

  // The response, whatever its status. Error(ca_unreachable) if there is no connection or no answer before
  // the deadline, or if the server's certificate is valid within a minute and not yet, and Error(clock) if
  // only later; Error(protocol) if the server is not who it should be; Error(not_authorised) if it refuses
  // our certificate; Error(protocol) for what is no HTTP. A connection that the server closed while it was
  // idle is opened again, and the request sent once more. Interim answers (100 to 199) are passed over; 101
  // is no HTTP here. A name that is being looked up (getaddrinfo) is waited for past the deadline.
  Response exchange(const Outgoing& request, std::chrono::steady_clock::time_point deadline);
  // Whether the last exchange got as far as sending: then the server may have acted, whatever came back.
  bool has_sent() const;
  // From any thread: the exchange that runs fails, and every later one.
  void give_up();
  // Closes the connection; the next exchange opens another.
  void close();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fleetroot::http
