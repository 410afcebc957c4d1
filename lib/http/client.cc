#include "lib/http/client.h"

#include <fmt/format.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/vector_body.hpp>

#include "lib/base/error.h"
#include "lib/http/framing.h"
#include "lib/http/stream.h"

namespace fleetroot::http {
namespace {

namespace beast = boost::beast;
using asio::ip::tcp;
using std::chrono::steady_clock;
using Parser = beast::http::response_parser<beast::http::vector_body<std::uint8_t>>;
using ResponseHeader = beast::http::response_header<>;

constexpr std::uint32_t kMaximumHead = 16 * 1024;
constexpr std::chrono::milliseconds kGiveUpInterval{200};
constexpr unsigned kSwitchingProtocols = 101;
constexpr unsigned kFirstFinalStatus = 200;

// The connection was kept alive, and the server closed it before it saw the request.
struct Stale {};

std::string_view text(beast::string_view view) {
  return {view.data(), view.size()};
}

std::unique_ptr<Parser> make_parser(const Outgoing& request) {
  auto parser = std::make_unique<Parser>();
  parser->body_limit(Client::kMaximumBody);
  parser->header_limit(kMaximumHead);
  if (request.method == "HEAD") parser->skip(true);
  return parser;
}

bool is_interim(Parser& parser) {
  return parser.is_done() && parser.get().result_int() < kFirstFinalStatus;
}

// Without its body.
Response to_response(const ResponseHeader& header) {
  Response response;
  response.status = header.result_int();
  response.content_type = text(header[beast::http::field::content_type]);
  for (const auto& field : header) {
    response.headers.push_back({std::string(text(field.name_string())), std::string(text(field.value()))});
  }
  return response;
}

}  // namespace

struct Client::State {
  Url url;
  SslCtxPtr tls;
  asio::io_context context;
  std::unique_ptr<Stream> stream;
  bool is_used = false;  // the connection has carried a request before
  bool is_late = false;
  bool has_sent = false;
  std::atomic<bool> is_given_up = false;

  Error unreachable(std::string_view why, std::string cause) const {
    return {ErrorCode::ca_unreachable, fmt::format("{} {}", url.authority(), why),
            "check that it runs and that the network reaches it, then run the same command again",
            std::move(cause)};
  }

  // close() ends only what waits on a socket.
  void refuse_if_late() const {
    if (is_late) throw unreachable("did not answer in time", "");
  }

  Bytes encode(const Outgoing& request) const {
    std::string head =
        fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.path, url.authority());
    if (!request.content_type.empty()) head += fmt::format("Content-Type: {}\r\n", request.content_type);
    for (const Header& header : request.headers) head += fmt::format("{}: {}\r\n", header.name, header.value);
    if (!request.body.empty() || request.method == "POST")
      head += fmt::format("Content-Length: {}\r\n", request.body.size());
    head += "\r\n";
    Bytes bytes(head.begin(), head.end());
    bytes.insert(bytes.end(), request.body.begin(), request.body.end());
    return bytes;
  }

  asio::awaitable<void> connect() {
    boost::system::error_code error;
    auto token = asio::redirect_error(asio::use_awaitable, error);
    tcp::resolver resolver(context);
    tcp::resolver::results_type found = co_await resolver.async_resolve(url.host, url.port, token);
    if (error) throw unreachable("cannot be found", error.message());
    refuse_if_late();
    tcp::socket socket(context);
    for (const auto& entry : found) {
      socket = tcp::socket(context);
      // Watched by close(), as everything after it.
      connecting = &socket;
      co_await socket.async_connect(entry.endpoint(), token);
      connecting = nullptr;
      if (!error || is_late) break;
    }
    if (error) throw unreachable("cannot be reached", error.message());
    refuse_if_late();
    stream = std::make_unique<Stream>(std::move(socket));
    is_used = false;
    if (tls) {
      SslPtr ssl = make_client_side(tls.get(), url.host);
      co_await stream->shake_hands(std::move(ssl));
    }
  }

  // False at the end of the stream.
  asio::awaitable<bool> read_on(Bytes& unread) {
    std::size_t begin = unread.size();
    unread.resize(begin + kReadSize);
    auto buffer = std::span(unread).subspan(begin);
    std::size_t got = co_await stream->read_some(buffer);
    unread.resize(begin + got);
    co_return got > 0;
  }

  Error no_http(std::string cause) const {
    return {ErrorCode::protocol, fmt::format("{} does not speak HTTP as we know it", url.authority()),
            "check the address and the port", std::move(cause)};
  }

  // Takes what the parser wants off the front of `unread`.
  void put(Parser& parser, Bytes& unread) const {
    beast::error_code error;
    std::size_t used = parser.put(asio::buffer(unread.data(), unread.size()), error);
    unread.erase(unread.begin(), unread.begin() + static_cast<std::ptrdiff_t>(used));
    // As in the server: chunk lines and trailers that never end are bounded here.
    bool needs_more = error == beast::http::error::need_more && unread.size() <= kMaximumHead;
    if (!error || needs_more) return;
    if (error == beast::http::error::body_limit) {
      throw Error(ErrorCode::protocol,
                  fmt::format("{} answers with more than {} MiB", url.authority(), kMaximumBody >> 20),
                  "let it answer with less, or check the address and the port");
    }
    throw no_http(error.message());
  }

  void parse(Parser& parser, Bytes& unread, Response& response) const {
    bool had_header = parser.is_header_done();
    put(parser, unread);
    if (had_header || !parser.is_header_done()) return;
    const ResponseHeader& header = parser.get().base();
    if (header.result_int() == kSwitchingProtocols) throw no_http("it switches protocols, unasked");
    if (auto fault = fault_in_framing(header, header.version())) throw no_http(std::string(fault->words));
    // Before the rest: Beast adds the fields behind a body, which mean nothing here, to those of the header.
    response = to_response(header);
    parser.eager(true);
    if (!parser.is_done() && !unread.empty()) put(parser, unread);
  }

  asio::awaitable<Response> exchange_once(const Outgoing& request) {
    // What lies there unasked would be taken for the answer to this.
    if (!request.may_repeat || (stream && !stream->is_silent())) stream.reset();
    if (!stream) co_await connect();
    Bytes bytes = encode(request);
    std::unique_ptr<Parser> parser = make_parser(request);
    Bytes unread;
    Response response;
    bool was_used = is_used;
    bool has_answer = false;
    is_used = true;
    has_sent = true;
    try {
      co_await stream->write(bytes);
      while (!parser->is_done()) {
        bool is_more = co_await read_on(unread);
        has_answer = has_answer || is_more;
        if (!is_more) {
          beast::error_code error;
          if (parser->got_some()) parser->put_eof(error);
          if (error || !parser->is_done()) throw std::system_error(ECONNRESET, std::generic_category());
          break;
        }
        parse(*parser, unread, response);
        while (is_interim(*parser)) {
          parser = make_parser(request);
          if (!unread.empty()) parse(*parser, unread, response);
        }
      }
    } catch (const std::system_error&) {
      if (was_used && !has_answer && !is_late) throw Stale();
      throw;
    }
    // Bytes behind the response would be taken for the next one.
    if (!parser->keep_alive() || !unread.empty()) stream.reset();
    response.body = std::move(parser->get().body());
    co_return response;
  }

  asio::awaitable<Response> exchange(const Outgoing& request) {
    try {
      Response response = co_await exchange_once(request);
      co_return response;
    } catch (const Stale&) {
      stream.reset();
    }
    Response response = co_await exchange_once(request);
    co_return response;
  }

  void close() {
    if (connecting != nullptr) connecting->close();
    if (stream) stream->close();
  }

  tcp::socket* connecting = nullptr;
};

Client::Client(const Url& url, std::optional<ClientTls> tls) : state_(std::make_unique<State>()) {
  if (url.is_tls && !tls) {
    throw Error(ErrorCode::usage, "an https address needs a root to check it with", "write http://host:port");
  }
  if (tls && !url.is_tls) {
    throw Error(ErrorCode::usage, "an http address has no certificate to believe",
                "write https://host:port, where the server has its certificate");
  }
  state_->url = url;
  if (tls) state_->tls = make_context(*tls);
}

Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

Response Client::exchange(const Outgoing& request, steady_clock::time_point deadline) {
  State& state = *state_;
  state.has_sent = false;
  if (state.is_given_up) throw state.unreachable("is not asked any more", "");
  std::optional<Response> response;
  std::exception_ptr failure;
  state.is_late = false;
  auto body = [&]() -> asio::awaitable<void> {
    try {
      response = co_await state.exchange(request);
    } catch (...) {
      failure = std::current_exception();
    }
  };
  state.context.restart();
  asio::co_spawn(state.context, body, asio::detached);
  // Looked at again and again for whoever gives up on another thread.
  while (!response && !failure && !state.is_given_up && steady_clock::now() < deadline) {
    state.context.run_until(std::min(deadline, steady_clock::now() + kGiveUpInterval));
  }
  if (!response && !failure) {
    state.is_late = true;
    state.close();
    state.context.run();
  }
  if (response) return std::move(*response);
  state.stream.reset();
  state.refuse_if_late();
  try {
    std::rethrow_exception(failure);
  } catch (const std::system_error& error) {
    throw state.unreachable("broke the connection off", error.code().message());
  }
}

bool Client::has_sent() const {
  return state_->has_sent;
}

void Client::give_up() {
  state_->is_given_up = true;
}

void Client::close() {
  state_->stream.reset();
}

}  // namespace fleetroot::http
