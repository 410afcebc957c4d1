#include "lib/http/connection.h"

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "lib/base/secret.h"
#include "lib/http/framing.h"

namespace fleetroot::http {
namespace {

namespace beast = boost::beast;
using RequestHeader = beast::http::request_header<>;
using std::chrono::steady_clock;

// A client that was refused may send this much more before it is cut off.
constexpr std::size_t kLingerBytes = 256 * 1024;
constexpr unsigned kHttp10 = 10;

// Over, without anything being wrong.
struct Ended {};

unsigned status_of(beast::error_code error) {
  if (error == beast::http::error::body_limit) return 413;
  if (error == beast::http::error::header_limit) return 431;
  return 400;
}

std::string_view text(beast::string_view view) {
  return {view.data(), view.size()};
}

// A path; or what OPTIONS has in its place (RFC 9112 section 3.2). We are nobody's proxy.
bool is_target(std::string_view target) {
  return target.starts_with('/') || target == "*";
}

Trouble trouble_of(unsigned status) {
  if (status == 413) return Trouble::body_too_large;
  return status == 431 ? Trouble::head_too_large : Trouble::bad_request;
}

// Every request names its host, and none names two: RFC 9112 section 3.2.
std::optional<HeaderFault> fault_in(const RequestHeader& header, const Limits& limits) {
  auto count = std::distance(header.begin(), header.end());
  if (static_cast<std::size_t>(count) > limits.header_count) return HeaderFault{431, "too many headers"};
  if (!is_target(text(header.target()))) return HeaderFault{400, "the target is no path"};
  std::size_t hosts = header.count(beast::http::field::host);
  bool may_lack_host = header.version() == kHttp10;
  if (hosts > 1 || (hosts == 0 && !may_lack_host)) return HeaderFault{400, "one Host is to be named"};
  return fault_in_framing(header, header.version());
}

Request to_request(const RequestHeader& header, const Peer& peer) {
  Request request;
  request.method = text(header.method_string());
  std::string_view target = text(header.target());
  request.path = target.substr(0, target.find('?'));
  if (request.path.size() < target.size()) request.query = target.substr(request.path.size() + 1);
  for (const auto& field : header) {
    request.headers.push_back({std::string(text(field.name_string())), std::string(text(field.value()))});
  }
  request.peer = peer;
  return request;
}

// Nor a length of it: RFC 9110 section 8.6. A 304 would have to say that of the 200 in whose place it stands.
bool may_have_body(unsigned status) {
  constexpr unsigned kFirstFinal = 200, kNoContent = 204, kNotModified = 304;
  return status >= kFirstFinal && status != kNoContent && status != kNotModified;
}

Bytes encode_head(const Response& response, bool keep_alive, bool has_body) {
  auto reason = beast::http::obsolete_reason(static_cast<beast::http::status>(response.status));
  std::string head = fmt::format("HTTP/1.1 {} {}\r\n", response.status, text(reason));
  if (!response.content_type.empty()) head += fmt::format("Content-Type: {}\r\n", response.content_type);
  for (const Header& header : response.headers) head += fmt::format("{}: {}\r\n", header.name, header.value);
  if (!response.is_head_alone && may_have_body(response.status))
    head += fmt::format("Content-Length: {}\r\n", response.body.size());
  if (!keep_alive) head += "Connection: close\r\n";
  head += "\r\n";
  Bytes bytes(head.begin(), head.end());
  if (has_body) bytes.insert(bytes.end(), response.body.begin(), response.body.end());
  return bytes;
}

}  // namespace

Connection::Connection(std::shared_ptr<Shared> shared, asio::ip::tcp::socket socket,
                       std::shared_ptr<SSL_CTX> tls, PeerCheck check, PeerArrival arrival)
    : shared_(std::move(shared)),
      tls_(std::move(tls)),
      check_(std::move(check)),
      arrival_(std::move(arrival)),
      chain_check_([this](std::vector<Certificate> chain) { return check_chain(std::move(chain)); }),
      stream_(std::move(socket)),
      answered_(stream_.executor()) {}

void Connection::start(const std::string& address) {
  // Not a shared one: who is no longer there needs no closing.
  auto close = [executor = stream_.executor(), weak = weak_from_this()](Connections::Reason reason) {
    asio::post(executor, [weak, reason] {
      if (auto connection = weak.lock()) connection->close(reason);
    });
  };
  std::optional<std::uint64_t> place =
      shared_->connections.admit(address, std::move(close), steady_clock::now());
  if (!place) return;
  peer_.address = address;
  peer_.connection = *place;
  // Posted, so that whoever accepts goes on accepting while another thread shakes hands.
  asio::post(stream_.executor(), [self = shared_from_this()] {
    asio::co_spawn(self->stream_.executor(), self->run(), asio::detached);
  });
}

void Connection::enter(Stage stage) {
  stage_ = stage;
  if (!shared_->connections.enter(peer_.connection, stage, steady_clock::now())) throw Ended();
}

asio::awaitable<void> Connection::run() {
  auto self = shared_from_this();
  try {
    if (tls_) co_await shake_hands();
    for (;;) {
      bool goes_on = co_await serve_request();
      if (!goes_on) break;
    }
    co_await stream_.finish_writing();
  } catch (const Ended&) {
  } catch (const std::exception&) {
    // The client has gone, was cut off, or does not speak TLS.
    take_openssl_errors();
    if (is_overdue_ && stage_ == Stage::handshake) tell(Trouble::slow_handshake, "it took too long");
    if (is_overdue_ && stage_ == Stage::reading) tell(Trouble::slow_request, "it took too long");
  }
  stream_.close();
  shared_->connections.remove(peer_.connection);
}

asio::awaitable<void> Connection::shake_hands() {
  SslPtr ssl = make_server_side(tls_.get(), &chain_check_);
  bool is_done = false;
  try {
    co_await stream_.shake_hands(std::move(ssl));
    is_done = true;
  } catch (const Error& error) {
    take_openssl_errors();
    if (!is_refused_) tell(stream_.handshake_trouble(), error.what());
  }
  if (is_done) {
    arrive();
    co_return;
  }
  // OpenSSL has said why; the client is to read it.
  co_await linger();
  throw Ended();
}

void Connection::arrive() {
  try {
    if (arrival_) arrival_(peer_);
  } catch (const std::exception&) {
    throw Ended();  // logged by whom it was told, where anybody wants to know
  }
  if (!shared_->connections.arrive(peer_.connection, steady_clock::now())) throw Ended();
}

void Connection::tell(Trouble trouble, const std::string& words) const {
  if (shared_->on_trouble) shared_->on_trouble(peer_, trouble, words);
}

bool Connection::check_chain(std::vector<Certificate> chain) {
  peer_.certificate = chain.front();
  peer_.chain = std::move(chain);
  // Before the check, so that whoever revokes after it finds this connection.
  shared_->connections.set_peer(peer_);
  try {
    check_(peer_);
  } catch (const std::exception&) {
    is_refused_ = true;
    return false;  // logged by the check, where anybody wants to know
  }
  shared_->connections.set_peer(peer_);  // with the check's note
  return true;
}

// False at the end of the stream.
asio::awaitable<bool> Connection::read_on() {
  std::size_t begin = unread_.size();
  unread_.resize(begin + kReadSize);
  auto buffer = std::span(unread_).subspan(begin);
  std::size_t got = co_await stream_.read_some(buffer);
  unread_.resize(begin + got);
  co_return got > 0;
}

asio::awaitable<bool> Connection::serve_request() {
  enter(Stage::idle);
  if (unread_.empty()) {
    unread_ = Bytes();
    co_await stream_.wait_readable();
  }
  enter(Stage::reading);
  auto parser = std::make_unique<Parser>();
  co_await read_header(*parser);
  bool keep_alive = parser->keep_alive();
  bool has_body = parser->get().method() != beast::http::verb::head;
  // Before the rest: Beast adds the fields behind a body, which mean nothing here, to those of the header.
  Request request = to_request(parser->get().base(), peer_);
  parser->eager(true);
  co_await parse(*parser);
  request.body = std::move(parser->get().body());
  parser.reset();

  if (!shared_->connections.may_request(peer_.address, steady_clock::now())) {
    Response response = Response::text(429, "too many requests from this address within a second\n");
    response.headers.push_back({"Retry-After", "1"});
    answer_.emplace(std::move(response));
  } else {
    co_await ask_handler(std::move(request));
  }
  keep_alive = keep_alive && !shared_->connections.is_stopping();
  co_await send(answer_->response, keep_alive, has_body);
  answer_.reset();
  co_return keep_alive;
}

asio::awaitable<void> Connection::read_header(Parser& parser) {
  parser.body_limit(shared_->limits.body);
  parser.header_limit(static_cast<std::uint32_t>(shared_->limits.head));
  co_await parse(parser);
  const RequestHeader& header = parser.get().base();
  if (std::optional<HeaderFault> fault = fault_in(header, shared_->limits)) {
    co_await refuse(fault->status, fault->words);
    throw Ended();
  }
  enter(Stage::reading);
  if (!parser.is_done() && unread_.empty() &&
      beast::iequals(header[beast::http::field::expect], "100-continue")) {
    co_await stream_.write(as_bytes("HTTP/1.1 100 Continue\r\n\r\n"));
  }
}

asio::awaitable<void> Connection::parse(Parser& parser) {
  auto is_there = [&] { return parser.eager() ? parser.is_done() : parser.is_header_done(); };
  while (!is_there()) {
    beast::error_code error;
    std::size_t used = 0;
    if (!unread_.empty()) used = parser.put(asio::buffer(unread_.data(), unread_.size()), error);
    unread_.erase(unread_.begin(), unread_.begin() + static_cast<std::ptrdiff_t>(used));
    // What is left is an unfinished line. Beast bounds those of the head, but not those between chunks and
    // behind the last one.
    if (error == beast::http::error::need_more && unread_.size() > shared_->limits.head)
      error = beast::http::error::header_limit;
    if (error && error != beast::http::error::need_more) {
      std::string words = error.message();
      co_await refuse(status_of(error), words);
      throw Ended();
    }
    if (is_there()) break;
    bool is_more = co_await read_on();
    if (!is_more) throw Ended();
  }
}

asio::awaitable<void> Connection::refuse(unsigned status, std::string_view words) {
  tell(trouble_of(status), std::string(words));
  Response response = Response::text(status, fmt::format("{}\n", words));
  co_await send(response, false, true);
  co_await stream_.finish_writing();
  co_await linger();
}

asio::awaitable<void> Connection::ask_handler(Request request) {
  enter(Stage::answering);
  answered_.expires_at(steady_clock::time_point::max());
  // Not a shared one: what comes when nobody is there to take it is not kept.
  Reply reply([weak = weak_from_this()](Response response) {
    Answer given(std::move(response));
    auto self = weak.lock();
    if (!self) return;
    asio::post(self->stream_.executor(), [weak, given = std::move(given)]() mutable {
      if (auto connection = weak.lock()) connection->take_answer(std::move(given));
    });
  });
  try {
    shared_->handler(std::move(request), std::move(reply));
  } catch (const std::exception&) {
    // The reply died unused, and that is answered.
  }
  boost::system::error_code woken;
  auto token = asio::redirect_error(asio::use_awaitable, woken);
  while (!answer_ && stream_.is_open()) co_await answered_.async_wait(token);
  if (!answer_) throw Ended();
}

void Connection::take_answer(Answer answer) {
  if (!answer_) answer_.emplace(std::move(answer));
  answered_.cancel();
}

asio::awaitable<void> Connection::send(const Response& response, bool keep_alive, bool has_body) {
  enter(Stage::writing);
  Bytes bytes = encode_head(response, keep_alive, has_body && may_have_body(response.status));
  Wiping wiping(bytes, response.is_secret);
  co_await stream_.write(bytes);
}

asio::awaitable<void> Connection::linger() {
  enter(Stage::lingering);
  co_await stream_.drain(kLingerBytes);
}

void Connection::close(Connections::Reason reason) {
  is_overdue_ = reason == Connections::Reason::overdue;
  stream_.close();
  answered_.cancel();
}

}  // namespace fleetroot::http
