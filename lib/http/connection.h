// One connection of the server, from its handshake to its end, as a coroutine on a strand of its own. For
// this folder only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/vector_body.hpp>
#include <memory>
#include <optional>

#include "lib/base/secret.h"
#include "lib/http/connections.h"
#include "lib/http/stream.h"

namespace fleetroot::http {

// What all connections of one server share.
struct Shared {
  Shared(Limits all_limits, Handler all_handler, TroubleListener listener)
      : limits(all_limits),
        handler(std::move(all_handler)),
        on_trouble(std::move(listener)),
        connections(limits) {}

  asio::io_context context;
  const Limits limits;
  const Handler handler;
  const TroubleListener on_trouble;
  Connections connections;
};

// A response on its way, overwritten where that ends if it is secret. Not Response itself: what has a
// destructor and may be moved is no aggregate.
struct Answer {
  explicit Answer(Response given) : response(std::move(given)) {}
  Answer(Answer&&) = default;
  Answer& operator=(Answer&&) = delete;
  ~Answer() {
    if (response.is_secret) wipe(response.body.data(), response.body.size());
  }

  Response response;
};

// Shared: by its coroutine, and for moments by what answers or closes it from another thread.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // A socket on a strand. `tls`, `check` and `arrival` are null without TLS.
  Connection(std::shared_ptr<Shared> shared, asio::ip::tcp::socket socket, std::shared_ptr<SSL_CTX> tls,
             PeerCheck check, PeerArrival arrival);

  // Begins to serve, unless the server is full.
  void start(const std::string& address);

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::vector_body<std::uint8_t>>;

  asio::awaitable<void> run();
  asio::awaitable<void> shake_hands();
  // False when this was the last one.
  asio::awaitable<bool> serve_request();
  // Its header alone.
  asio::awaitable<void> read_header(Parser& parser);
  // As far as the parser goes: to the end of the header, or, where it is eager, to that of the request.
  asio::awaitable<void> parse(Parser& parser);
  asio::awaitable<bool> read_on();
  // The connection is to end after this.
  asio::awaitable<void> refuse(unsigned status, std::string_view words);
  // Until there is an answer_.
  asio::awaitable<void> ask_handler(Request request);
  asio::awaitable<void> send(const Response& response, bool keep_alive, bool has_body);
  // Lets a client that was refused read why.
  asio::awaitable<void> linger();
  void arrive();
  bool check_chain(std::vector<Certificate> chain);
  void take_answer(Answer answer);
  void close(Connections::Reason reason);
  void tell(Trouble trouble, const std::string& words) const;
  void enter(Stage stage);

  std::shared_ptr<Shared> shared_;
  std::shared_ptr<SSL_CTX> tls_;  // OpenSSL counts too; the server's may be replaced meanwhile
  PeerCheck check_;
  PeerArrival arrival_;
  Stage stage_ = Stage::handshake;
  bool is_overdue_ = false;
  bool is_refused_ = false;  // by the check, which knows
  ChainCheck chain_check_;
  Peer peer_;
  Stream stream_;
  Bytes unread_;  // arrived, not yet understood
  asio::steady_timer answered_;
  std::optional<Answer> answer_;  // to the present request
};

}  // namespace fleetroot::http
