// One TCP connection, plain or with TLS, for coroutines. For this folder only. Everything on one strand, and
// close() ends whatever waits. Failures are exceptions: std::system_error, or Error from TLS.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <span>

#include "lib/http/server.h"
#include "lib/http/tls_context.h"

namespace fleetroot::http {

namespace asio = boost::asio;

// What a read takes at once.
inline constexpr std::size_t kReadSize = 8 * 1024;

class Stream {
 public:
  explicit Stream(asio::ip::tcp::socket socket);

  // From here on all goes through `ssl`. Error(not_authorised, protocol); Error(clock) where the server's
  // certificate is not valid yet, or Error(ca_unreachable) if it is within a minute.
  asio::awaitable<void> shake_hands(SslPtr ssl);
  // What it was, if that failed with an Error.
  Trouble handshake_trouble() const { return handshake_trouble_; }
  // Returns when something can be read, or the other side has closed.
  asio::awaitable<void> wait_readable();
  // How many bytes; 0 at the end.
  asio::awaitable<std::size_t> read_some(std::span<std::uint8_t> buffer);
  asio::awaitable<void> write(BytesView bytes);
  // Whether the other side has neither closed nor said anything that nobody has read.
  bool is_silent();
  // Says that nothing more will be written.
  asio::awaitable<void> finish_writing();
  // Reads what the other side still sends, up to so much, and throws it away: closing with unread bytes would
  // take our last words from it.
  asio::awaitable<void> drain(std::size_t maximum);
  // Now, whoever waits.
  void close();
  bool is_open() const { return socket_.is_open(); }
  asio::any_io_executor executor() { return socket_.get_executor(); }

 private:
  asio::awaitable<void> wait(asio::ip::tcp::socket::wait_type what);
  template <typename Call>
  asio::awaitable<int> drive(Call call);

  asio::ip::tcp::socket socket_;
  SslPtr ssl_;
  Trouble handshake_trouble_ = Trouble::handshake;
};

}  // namespace fleetroot::http
