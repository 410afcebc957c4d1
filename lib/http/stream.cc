#include "lib/http/stream.h"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <openssl/err.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>

#include "lib/base/clock.h"

namespace fleetroot::http {
namespace {

using asio::use_awaitable;
using Socket = asio::ip::tcp::socket;

Trouble trouble_of(unsigned long code) {
  if (ERR_GET_LIB(code) != ERR_LIB_SSL) return Trouble::handshake;
  switch (ERR_GET_REASON(code)) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return Trouble::no_certificate;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
      return Trouble::old_tls;
    default:
      return Trouble::handshake;
  }
}

// From when on all of the chain is valid that the server has shown.
Time beginning_of_chain(SSL* ssl) {
  Time latest{};
  STACK_OF(X509)* chain = SSL_get0_verified_chain(ssl);
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    X509* certificate = sk_X509_value(chain, i);
    X509_up_ref(certificate);
    latest = std::max(latest, Certificate(X509Ptr(certificate)).not_before());
  }
  return latest;
}

// A clock that is a little behind needs only to be waited for.
Error not_valid_yet(Time begins) {
  Time now = SystemClock().now();
  return {begins - now <= kSmallSkew ? ErrorCode::ca_unreachable : ErrorCode::clock,
          fmt::format("the server's certificate is valid from {} on, and this machine's clock says {}",
                      format_time(begins), format_time(now)),
          "set this machine's clock right, or the server's; then run the same command again"};
}

Error not_to_believe(SSL* ssl) {
  long verdict = SSL_get_verify_result(ssl);
  take_openssl_errors();
  if (verdict == X509_V_ERR_CERT_NOT_YET_VALID) return not_valid_yet(beginning_of_chain(ssl));
  const char* hint = verdict == X509_V_ERR_CERT_HAS_EXPIRED
                         ? "have the server's certificate renewed, or set this machine's clock right"
                         : "check the address, and which root is pinned";
  return {ErrorCode::protocol, "the server's certificate is not one to believe", hint,
          X509_verify_cert_error_string(verdict)};
}

Error tls_error(SSL* ssl) {
  unsigned long code = ERR_peek_error();
  int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
  if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && SSL_is_server(ssl) == 0) return not_to_believe(ssl);
  switch (reason) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
      return openssl_error(ErrorCode::not_authorised, "the server refuses our certificate",
                           "ask whoever runs the server what it logged");
    default:
      return openssl_error(ErrorCode::protocol, "the TLS connection failed",
                           "check that the other side speaks TLS 1.2 or 1.3 there");
  }
}

}  // namespace

Stream::Stream(Socket socket) : socket_(std::move(socket)) {
  socket_.native_non_blocking(true);
  socket_.non_blocking(true);
  socket_.set_option(asio::ip::tcp::no_delay(true));
}

asio::awaitable<void> Stream::wait(Socket::wait_type what) {
  boost::system::error_code error;
  co_await socket_.async_wait(what, asio::redirect_error(use_awaitable, error));
  if (error) throw std::system_error(error);
}

// Runs one of OpenSSL's calls until it is done; 0 at the end of the stream.
template <typename Call>
asio::awaitable<int> Stream::drive(Call call) {
  for (;;) {
    // Its descriptor's number may be somebody else's by now.
    if (!is_open()) throw std::system_error(ECANCELED, std::generic_category());
    ERR_clear_error();
    errno = 0;
    int result = call(ssl_.get());
    int error_number = errno;
    if (result > 0) co_return result;
    switch (SSL_get_error(ssl_.get(), result)) {
      case SSL_ERROR_WANT_READ:
        co_await wait(Socket::wait_read);
        break;
      case SSL_ERROR_WANT_WRITE:
        co_await wait(Socket::wait_write);
        break;
      case SSL_ERROR_ZERO_RETURN:
        co_return 0;
      case SSL_ERROR_SYSCALL:
        throw std::system_error(error_number != 0 ? error_number : ECONNRESET, std::generic_category());
      default:
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
          throw std::system_error(ECONNRESET, std::generic_category());
        }
        throw tls_error(ssl_.get());
    }
  }
}

asio::awaitable<void> Stream::shake_hands(SslPtr ssl) {
  ssl_ = std::move(ssl);
  SSL_set_fd(ssl_.get(), socket_.native_handle());
  auto shake = [this](SSL* handle) {
    int result = SSL_do_handshake(handle);
    if (result <= 0) handshake_trouble_ = trouble_of(ERR_peek_error());
    return result;
  };
  int done = co_await drive(shake);
  if (done != 1) throw std::system_error(ECONNRESET, std::generic_category());
  // In TLS 1.3 a server has nothing to say here that its acknowledgement could ride on, and a client that
  // does not switch off Nagle's algorithm holds its request back until it comes: 40 ms later, if nobody
  // hurries.
  int yes = 1;
  setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_QUICKACK, &yes, sizeof yes);
}

asio::awaitable<void> Stream::wait_readable() {
  if (ssl_ && SSL_has_pending(ssl_.get()) == 1) co_return;
  // asio wakes up now and then where nothing is there; who waits idly must not be taken for who sends slowly.
  char octet = 0;
  do {
    co_await wait(Socket::wait_read);
  } while (recv(socket_.native_handle(), &octet, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EINTR));
}

asio::awaitable<std::size_t> Stream::read_some(std::span<std::uint8_t> buffer) {
  if (ssl_) {
    auto read = [buffer](SSL* ssl) { return SSL_read(ssl, buffer.data(), static_cast<int>(buffer.size())); };
    int got = co_await drive(read);
    co_return static_cast<std::size_t>(got);
  }
  boost::system::error_code error;
  auto target = asio::buffer(buffer.data(), buffer.size());
  auto token = asio::redirect_error(use_awaitable, error);
  std::size_t got = co_await socket_.async_read_some(target, token);
  if (error == asio::error::eof) co_return 0;
  if (error) throw std::system_error(error);
  co_return got;
}

asio::awaitable<void> Stream::write(BytesView bytes) {
  while (!bytes.empty()) {
    std::size_t written = 0;
    if (ssl_) {
      auto write = [bytes](SSL* ssl) { return SSL_write(ssl, bytes.data(), static_cast<int>(bytes.size())); };
      int result = co_await drive(write);
      if (result == 0) throw std::system_error(EPIPE, std::generic_category());
      written = static_cast<std::size_t>(result);
    } else {
      auto source = asio::buffer(bytes.data(), bytes.size());
      boost::system::error_code error;
      written = co_await socket_.async_write_some(source, asio::redirect_error(use_awaitable, error));
      if (error) throw std::system_error(error);
    }
    bytes = bytes.subspan(written);
  }
}

bool Stream::is_silent() {
  char octet = 0;
  if (!ssl_) {
    ssize_t got = recv(socket_.native_handle(), &octet, 1, MSG_PEEK | MSG_DONTWAIT);
    return got < 0 && errno == EAGAIN;
  }
  int got = SSL_peek(ssl_.get(), &octet, 1);  // past session tickets
  bool is_silent = got <= 0 && SSL_get_error(ssl_.get(), got) == SSL_ERROR_WANT_READ;
  take_openssl_errors();
  return is_silent;
}

asio::awaitable<void> Stream::finish_writing() {
  if (ssl_) {
    // One way: whether the other side says so too does not matter. 0 says that it has not yet.
    auto shut_down = [](SSL* ssl) {
      int result = SSL_shutdown(ssl);
      return result == 0 ? 1 : result;
    };
    co_await drive(shut_down);
  }
  boost::system::error_code ignored;  // the other side may have gone
  socket_.shutdown(Socket::shutdown_send, ignored);
}

// Past TLS, which may have failed.
asio::awaitable<void> Stream::drain(std::size_t maximum) {
  boost::system::error_code error;
  socket_.shutdown(Socket::shutdown_send, error);
  auto token = asio::redirect_error(use_awaitable, error);
  Bytes waste(kReadSize);
  auto target = asio::buffer(waste);
  for (std::size_t total = 0; total < maximum;) {
    total += co_await socket_.async_read_some(target, token);
    if (error) co_return;
  }
}

void Stream::close() {
  boost::system::error_code ignored;  // closed is closed
  socket_.close(ignored);
}

}  // namespace fleetroot::http
