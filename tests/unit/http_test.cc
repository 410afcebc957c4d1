#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <future>
#include <mutex>
#include <thread>

#include "lib/base/process.h"
#include "lib/http/client.h"
#include "lib/http/connections.h"
#include "lib/http/server.h"
#include "tests/expect_error.h"
#include "tests/software_pki.h"

namespace fleetroot::http {
namespace {

using std::chrono::steady_clock;
using testing::HasSubstr;
using testing::StartsWith;

steady_clock::time_point soon() {
  return steady_clock::now() + std::chrono::seconds(60);
}

std::string body_of(const Response& response) {
  return std::string(as_text(response.body));
}

// Answers with what it was asked.
void echo(const Request& request, Reply reply) {
  std::string subject = request.peer.certificate ? request.peer.certificate->common_name().value_or("?") : "";
  reply(Response::text(200, request.method + " " + request.path + "?" + request.query + " " +
                                std::string(as_text(request.body)) + " " + subject));
}

// A stranger who speaks to the socket by hand.
class RawClient {
 public:
  explicit RawClient(const std::string& address, const char* from = nullptr)
      : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (from != nullptr) {
      sockaddr_in own = to_sockaddr(from, 0);
      EXPECT_EQ(bind(fd_.get(), reinterpret_cast<sockaddr*>(&own), sizeof own), 0);
    }
    std::size_t colon = address.rfind(':');
    sockaddr_in to = to_sockaddr(address.substr(0, colon), std::stoi(address.substr(colon + 1)));
    EXPECT_EQ(connect(fd_.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0) << strerror(errno);
  }
  bool send(std::string_view text) { return write_fully(fd_.get(), as_bytes(text)); }
  // Everything up to the end of the connection.
  std::string read_all() {
    std::string text;
    char buffer[4096];
    for (ssize_t got = 0; (got = read(fd_.get(), buffer, sizeof buffer)) > 0;) {
      text.append(buffer, static_cast<std::size_t>(got));
    }
    return text;
  }
  // Up to and with `end`.
  std::string read_until(std::string_view end) {
    std::string text;
    char c = 0;
    while (!text.ends_with(end) && read(fd_.get(), &c, 1) == 1) text.push_back(c);
    return text;
  }

 private:
  static sockaddr_in to_sockaddr(const std::string& host, int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    inet_pton(AF_INET, host.c_str(), &address.sin_addr);
    return address;
  }
  FileDescriptor fd_;
};

// A stranger who says this to the first that comes, whatever he asks, and waits for him to leave.
class RawServer {
 public:
  explicit RawServer(std::string words) : words_(std::move(words)) {}
  Url url() const { return Url::parse("http://" + listener_.address()); }

 private:
  void serve() {
    FileDescriptor client(accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    write_fully(client.get(), as_bytes(words_));
    char waste[4096];
    while (read(client.get(), waste, sizeof waste) > 0) {
    }
  }
  const std::string words_;
  Listener listener_ = Listener::bind("127.0.0.1:0");
  std::jthread thread_{[this] { serve(); }};
};

// What the server told of, from its own threads.
class Troubles {
 public:
  void push(Trouble trouble) {
    std::lock_guard lock(mutex_);
    troubles_.push_back(trouble);
    changed_.notify_all();
  }
  Trouble pop() {
    std::unique_lock lock(mutex_);
    bool came = changed_.wait_for(lock, std::chrono::seconds(60), [&] { return !troubles_.empty(); });
    EXPECT_TRUE(came) << "nobody was told";
    if (!came) return Trouble::bad_request;
    Trouble trouble = troubles_.front();
    troubles_.pop_front();
    return trouble;
  }
  bool is_empty() {
    std::lock_guard lock(mutex_);
    return troubles_.empty();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Trouble> troubles_;
};

class HttpServer : public testing::Test {
 protected:
  HttpServer() { harden_process(); }

  Server& start(Limits limits = {}, Handler handler = echo, std::optional<ServerTls> tls = {}) {
    std::vector<Listener> listeners;
    listeners.push_back(Listener::bind("127.0.0.1:0"));
    server_.emplace(ServerSettings{.listeners = std::move(listeners),
                                   .tls = std::move(tls),
                                   .limits = limits,
                                   .on_trouble = [this](const Peer&, Trouble trouble,
                                                        const std::string&) { troubles_.push(trouble); }},
                    std::move(handler));
    return *server_;
  }
  const std::string& address() const { return server_->addresses().front(); }
  Client client() const { return {Url::parse("http://" + address()), std::nullopt}; }
  std::string get(const std::string& path) const {
    return body_of(client().exchange({.path = path}, soon()));
  }
  // False if somebody is still there after a while.
  static bool all_have_gone(const Server& server) {
    auto deadline = soon();
    while (server.connection_count() > 0 && steady_clock::now() < deadline) std::this_thread::yield();
    return server.connection_count() == 0;
  }
  std::string ask(std::string_view text) const {
    RawClient raw(address());
    raw.send(text);
    return raw.read_all();
  }

  Troubles troubles_;
  std::optional<Server> server_;
};

TEST_F(HttpServer, AnswersWithWhatTheHandlerSays) {
  start();
  EXPECT_EQ(get("/a/b?c=d"), "GET /a/b?c=d  ");
  Response response = client().exchange({.method = "POST", .path = "/x", .body = {'h', 'i'}}, soon());
  EXPECT_EQ(response.status, 200U);
  EXPECT_EQ(response.content_type, "text/plain; charset=utf-8");
  EXPECT_EQ(body_of(response), "POST /x? hi ");
}

TEST_F(HttpServer, KeepsTheConnectionBetweenRequestsAndTakesThemPipelined) {
  Server& server = start();
  Client one = client();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(one.exchange({.path = "/"}, soon()).status, 200U);
  EXPECT_EQ(server.connection_count(), 1U);
  std::string answers =
      ask("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(answers, HasSubstr("GET /1?"));
  EXPECT_THAT(answers, HasSubstr("GET /2?"));
}

TEST_F(HttpServer, AnswersFromAnotherThreadAndAfterALostReply) {
  std::vector<std::thread> threads;
  start({}, [&](const Request& request, Reply reply) {
    if (request.path == "/lost") return;
    if (request.path == "/thrown") throw std::runtime_error("broken");
    threads.emplace_back(
        [reply = std::make_shared<Reply>(std::move(reply))] { (*reply)(Response::text(200, "later")); });
  });
  EXPECT_EQ(get("/"), "later");
  EXPECT_EQ(client().exchange({.path = "/lost"}, soon()).status, 500U);
  EXPECT_EQ(client().exchange({.path = "/thrown"}, soon()).status, 500U);
  for (std::thread& thread : threads) thread.join();
}

TEST_F(HttpServer, AReplyMayComeAfterTheServerHasGone) {
  std::promise<Reply> promise;
  start({}, [&](const Request&, Reply reply) { promise.set_value(std::move(reply)); });
  RawClient raw(address());
  raw.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  Reply reply = promise.get_future().get();
  server_.reset();
  reply(Response::text(200, "too late"));
  EXPECT_EQ(raw.read_all(), "");
}

// Whether these bytes are still at a place that has been given back. The allocator writes into the first few.
bool are_still_at(const std::uint8_t* place, const Bytes& bytes) {
  FileDescriptor memory(open("/proc/self/mem", O_RDONLY | O_CLOEXEC));
  Bytes found(bytes.size());
  ssize_t got = pread(memory.get(), found.data(), found.size(), reinterpret_cast<off_t>(place));
  EXPECT_EQ(got, static_cast<ssize_t>(found.size())) << "nothing can be seen there";
  return equal(BytesView(found).last(bytes.size() / 2), BytesView(bytes).last(bytes.size() / 2));
}

TEST_F(HttpServer, OverwritesASecretThatNobodyIsThereToTake) {
  const Bytes secret(4096, 's');
  for (bool has_server_gone : {false, true}) {
    std::promise<Reply> promise;
    Server& server = start({}, [&](const Request&, Reply reply) { promise.set_value(std::move(reply)); });
    RawClient raw(address());
    raw.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    Reply reply = promise.get_future().get();
    server.close_connections([](const Peer&) { return true; });
    if (has_server_gone) server_.reset();
    Response response{.body = secret, .is_secret = true};
    const std::uint8_t* place = response.body.data();
    reply(std::move(response));
    server_.reset();
    EXPECT_FALSE(are_still_at(place, secret)) << has_server_gone;
  }
}

TEST_F(HttpServer, RefusesWhatIsTooLongOrNoHttp) {
  start({.body = 100, .head = 1000, .header_count = 5});
  EXPECT_THAT(ask("\x16\x03\x01\x02garbage\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(ask("GET / HTTP/1.1\r\nX: " + std::string(5000, 'x') + "\r\n\r\n"),
              StartsWith("HTTP/1.1 431 "));
  std::string many = "GET / HTTP/1.1\r\n";
  for (int i = 0; i < 6; ++i) many += "A: b\r\n";
  EXPECT_THAT(ask(many + "\r\n"), StartsWith("HTTP/1.1 431 "));
  EXPECT_THAT(ask("POST / HTTP/1.1\r\nContent-Length: 101\r\n\r\n" + std::string(101, 'x')),
              StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(ask("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + std::string(101, 'x') +
                  "\r\n0\r\n\r\n"),
              StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(ask("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
              StartsWith("HTTP/1.1 400 "));
  for (const char* target : {"?x", "http://elsewhere/", "x/y"})
    EXPECT_THAT(ask("GET " + std::string(target) + " HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 400 "))
        << target;
  EXPECT_EQ(get("/still"), "GET /still?  ");
}

TEST_F(HttpServer, BoundsWhatStandsBetweenChunksAndBehindThem) {
  start({.body = 100'000, .head = 1000});
  const std::string head = "POST / HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string endless(50'000, 'x');
  EXPECT_THAT(ask(head + "1;x=" + endless), StartsWith("HTTP/1.1 431 "));
  EXPECT_THAT(ask(head + "0\r\nX: " + endless), StartsWith("HTTP/1.1 431 "));
  EXPECT_EQ(troubles_.pop(), Trouble::head_too_large);
  // What is in a chunk may be longer.
  EXPECT_THAT(ask(head + "c350\r\n" + endless + "\r\n0\r\nX: y\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(HttpServer, TheClientBoundsThemToo) {
  for (const char* begin : {"1;x=", "0\r\nX: "}) {
    RawServer server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
                     (begin + std::string(100'000, 'x')));
    Client one(server.url(), std::nullopt);
    EXPECT_EQ(code_of([&] { one.exchange({.path = "/"}, soon()); }), ErrorCode::protocol) << begin;
  }
}

TEST_F(HttpServer, TellsAClientThatWaitsForItToGoOn) {
  start();
  RawClient raw(address());
  raw.send("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(raw.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  raw.send("ok");
  EXPECT_THAT(raw.read_all(), HasSubstr("POST /? ok"));
}

TEST_F(HttpServer, CutsOffWhoIsSlow) {
  start({.headers = std::chrono::milliseconds(1), .idle = std::chrono::milliseconds(1)});
  RawClient silent(address());
  EXPECT_EQ(silent.read_all(), "");
  RawClient slow(address());
  slow.send("GET / HT");
  EXPECT_EQ(slow.read_all(), "");
}

TEST_F(HttpServer, CutsOffWhoNeverEndsItsBodyHoweverBusyItLooks) {
  start({.headers = std::chrono::hours(1), .request_body = std::chrono::milliseconds(100)});
  RawClient raw(address());
  raw.send("POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n");
  std::future<void> dripping = std::async(std::launch::async, [&] {
    while (raw.send("x")) std::this_thread::yield();
  });
  EXPECT_EQ(troubles_.pop(), Trouble::slow_request);
  dripping.get();
  EXPECT_EQ(raw.read_all(), "");
  EXPECT_EQ(get("/still"), "GET /still?  ");
}

TEST_F(HttpServer, CutsOffWhoNeverEndsItsHeadersHoweverBusyItLooks) {
  start({.head = 1 << 20, .headers = std::chrono::milliseconds(100)});
  RawClient raw(address());
  raw.send("GET / HTTP/1.1\r\nX: ");
  std::future<void> dripping = std::async(std::launch::async, [&] {
    while (raw.send("x")) std::this_thread::yield();
  });
  EXPECT_EQ(troubles_.pop(), Trouble::slow_request);
  dripping.get();
  EXPECT_EQ(raw.read_all(), "");
}

TEST_F(HttpServer, DoesNotWaitForAnAnswerForEver) {
  std::promise<Reply> promise;
  Server& server = start({.answer = std::chrono::milliseconds(1)},
                         [&](const Request&, Reply reply) { promise.set_value(std::move(reply)); });
  RawClient raw(address());
  raw.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  Reply reply = promise.get_future().get();
  EXPECT_TRUE(all_have_gone(server));
  EXPECT_EQ(raw.read_all(), "");
  reply(Response::text(200, "too late"));
}

TEST_F(HttpServer, CutsOffWhoDoesNotTakeItsAnswer) {
  const std::string large(32 << 20, 'x');  // more than the system keeps for either side
  Server& server = start({.writing = std::chrono::milliseconds(100)},
                         [&](const Request&, Reply reply) { reply(Response::text(200, large)); });
  RawClient raw(address());
  raw.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(raw.read_until("\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
  EXPECT_TRUE(all_have_gone(server));
  EXPECT_LT(raw.read_all().size(), large.size());
}

TEST_F(HttpServer, WhoOnlyWaitsGivesWay) {
  Server& server = start({.connections = 20, .connections_per_address = 20});
  std::vector<RawClient> idle;
  for (int i = 0; i < 200; ++i) {
    idle.emplace_back(address());
    if (i % 2 == 0) idle.back().send("GET / HT");
  }
  EXPECT_EQ(get("/"), "GET /?  ");
  EXPECT_LE(server.connection_count(), 20U);
  EXPECT_EQ(idle.front().read_all(), "");
}

TEST_F(HttpServer, OneAddressCannotTakeAllPlaces) {
  start({.connections = 20, .connections_per_address = 5});
  RawClient good(address(), "127.0.0.2");
  good.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n");
  good.read_until("GET /1?  ");
  std::vector<RawClient> bad;
  for (int i = 0; i < 100; ++i) bad.emplace_back(address());
  // By the time the last one has been let in, the good one would have given way.
  bad.back().send("GET /bad HTTP/1.1\r\nHost: x\r\n\r\n");
  bad.back().read_until("GET /bad?  ");
  good.send("GET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(good.read_all(), HasSubstr("GET /2?"));
}

TEST_F(HttpServer, WhoIsBeingAnsweredStays) {
  std::promise<Reply> promise;
  start({.connections = 1}, [&](const Request& request, Reply reply) {
    if (request.path == "/first") promise.set_value(std::move(reply));
  });
  RawClient first(address());
  first.send("GET /first HTTP/1.1\r\nConnection: close\r\n\r\n");
  Reply reply = promise.get_future().get();
  RawClient second(address());
  EXPECT_EQ(second.read_all(), "");
  reply(Response::text(200, "done"));
  EXPECT_THAT(first.read_all(), HasSubstr("done"));
}

TEST_F(HttpServer, TooManyRequestsAreRefusedByTheirNumber) {
  start({.requests_per_second_per_address = 1});
  Client one = client();
  unsigned refused = 0;
  // Not even a slow machine takes fifty seconds for fifty requests.
  for (int i = 0; i < 50; ++i) {
    Response response = one.exchange({.path = "/"}, soon());
    if (response.status == 429) ++refused;
  }
  EXPECT_GT(refused, 0U);
}

TEST_F(HttpServer, FinishesWhatItHasAcceptedBeforeItStops) {
  std::promise<Reply> promise;
  Server& server = start({}, [&](const Request&, Reply reply) { promise.set_value(std::move(reply)); });
  RawClient busy(address());
  busy.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  Reply reply = promise.get_future().get();
  std::string bound = address();
  std::thread stopping([&] { server.stop(std::chrono::seconds(60)); });
  // New ones are refused at once.
  while (true) {
    FileDescriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(bound.substr(bound.rfind(':') + 1))));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) break;
    std::this_thread::yield();
  }
  reply(Response::text(200, "finished"));
  std::string answer = busy.read_all();
  EXPECT_THAT(answer, HasSubstr("finished"));
  EXPECT_THAT(answer, HasSubstr("Connection: close"));
  stopping.join();
}

TEST_F(HttpServer, StopsWithoutThoseWhoNeverEnd) {
  Server& server = start();
  RawClient half(address());
  half.send("GET / HT");
  server.stop(std::chrono::milliseconds(10));
  EXPECT_EQ(half.read_all(), "");
}

// A client that was kept waiting too long for the connection to live must not see an error.
TEST_F(HttpServer, TheClientOpensAClosedConnectionAgain) {
  Server& server = start();
  Client one = client();
  EXPECT_EQ(one.exchange({.path = "/"}, soon()).status, 200U);
  server.close_connections([](const Peer&) { return true; });
  EXPECT_EQ(one.exchange({.path = "/"}, soon()).status, 200U);
}

// Which it would take for the answer to what it asks next.
TEST_F(HttpServer, TheClientTakesNoAnswerThatNobodyAskedFor) {
  Listener listener = Listener::bind("127.0.0.1:0");
  std::promise<void> answered;
  std::promise<void> spoken;
  std::jthread stranger([&] {
    char request[4096];
    auto say = [](const FileDescriptor& to, std::string_view word) {
      EXPECT_TRUE(write_fully(to.get(), as_bytes("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")));
      EXPECT_TRUE(write_fully(to.get(), as_bytes(word)));
    };
    FileDescriptor first(accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_GT(read(first.get(), request, sizeof request), 0);
    say(first, "one");
    answered.get_future().wait();
    say(first, "???");
    spoken.set_value();
    FileDescriptor second(accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    if (second && read(second.get(), request, sizeof request) > 0) say(second, "two");
  });
  Client one(Url::parse("http://" + listener.address()), std::nullopt);
  EXPECT_EQ(body_of(one.exchange({.path = "/"}, soon())), "one");
  answered.set_value();
  spoken.get_future().wait();
  EXPECT_EQ(body_of(one.exchange({.path = "/"}, soon())), "two");
  shutdown(listener.fd(), SHUT_RDWR);
}

TEST_F(HttpServer, TheClientGivesUpAtItsDeadline) {
  std::vector<Reply> kept;
  start({}, [&](const Request&, Reply reply) { kept.push_back(std::move(reply)); });
  Client one = client();
  EXPECT_EQ(
      code_of([&] { one.exchange({.path = "/"}, steady_clock::now() + std::chrono::milliseconds(10)); }),
      ErrorCode::ca_unreachable);
  server_.reset();
  EXPECT_EQ(code_of([&] { one.exchange({.path = "/"}, soon()); }), ErrorCode::ca_unreachable);
}

TEST_F(HttpServer, TheClientDoesNotConnectAfterItsDeadline) {
  std::vector<Reply> kept;
  start({.answer = std::chrono::milliseconds(1)},
        [&](const Request&, Reply reply) { kept.push_back(std::move(reply)); });
  Client one = client();
  // The name is found, and the deadline is past by then.
  EXPECT_EQ(code_of([&] { one.exchange({.path = "/"}, steady_clock::now()); }), ErrorCode::ca_unreachable);
  server_->stop(std::chrono::seconds(60));
  EXPECT_TRUE(kept.empty()) << "it asked all the same";
}

class TlsServer : public HttpServer {
 protected:
  static CertificateText text(const std::string& name, ExtensionTexts extensions) {
    constexpr std::chrono::hours kDecades{24 * 365 * 30};
    return {.common_name = name,
            .extensions = std::move(extensions),
            .begins_before = kDecades,
            .ends_after = kDecades};
  }
  static ExtensionTexts with_address(const std::string& address) {
    ExtensionTexts extensions = kServerExtensions;
    extensions.push_back({"subjectAltName", "IP:" + address});
    return extensions;
  }

  ServerTls server_tls(ClientCertificate mode = ClientCertificate::required) {
    return {.identity = {.chain = {server_key.certificate}, .key = server_key.key.get()},
            .client_certificate = mode,
            .check = [this](const Peer& peer) {
              if (revoked) throw Error(ErrorCode::not_authorised, "revoked", "");
              if (peer.chain.size() != 1 || *peer.certificate != device.certificate) {
                throw Error(ErrorCode::not_authorised, "unknown", "");
              }
            }};
  }
  Client client(const Identity* own = nullptr, const Identity* trusted = nullptr) {
    ClientTls tls{.roots = {(trusted != nullptr ? *trusted : root).certificate}};
    if (own != nullptr) tls.identity = TlsIdentity{.chain = {own->certificate}, .key = own->key.get()};
    return {Url::parse("https://" + address()), tls};
  }

  Identity root = issue(text("root", kCaExtensions));
  Identity server_key = issue(text("server", with_address("127.0.0.1")), &root);
  Identity device = issue(text("device-1", kClientExtensions), &root);
  Identity other = issue(text("device-2", kClientExtensions), &root);
  std::atomic<bool> revoked = false;
};

TEST_F(TlsServer, KnowsItsClientByItsCertificate) {
  start({}, echo, server_tls());
  EXPECT_EQ(body_of(client(&device).exchange({.path = "/"}, soon())), "GET /?  device-1");
}

TEST_F(TlsServer, TheCheckDecides) {
  start({}, echo, server_tls());
  EXPECT_EQ(code_of([&] { client(&other).exchange({.path = "/"}, soon()); }), ErrorCode::not_authorised);
  EXPECT_EQ(code_of([&] { client().exchange({.path = "/"}, soon()); }), ErrorCode::not_authorised);
}

TEST_F(TlsServer, WhoHasProvenHisKeyArrivesWithTheChecksNote) {
  ServerTls tls = server_tls();
  std::atomic<int> arrived = 0;
  std::atomic<bool> is_welcome = true;
  tls.check = [](Peer& peer) { peer.note = peer.certificate->common_name().value_or("?"); };
  tls.arrival = [&](const Peer& peer) {
    EXPECT_EQ(std::any_cast<std::string>(peer.note), "device-1");
    ++arrived;
    if (!is_welcome) throw Error(ErrorCode::not_authorised, "too late", "");
  };
  start(
      {},
      [](const Request& request, Reply reply) {
        reply(Response::text(200, std::any_cast<std::string>(request.peer.note)));
      },
      tls);
  EXPECT_EQ(body_of(client(&device).exchange({.path = "/"}, soon())), "device-1");
  EXPECT_EQ(arrived, 1);
  is_welcome = false;
  EXPECT_THROW(client(&device).exchange({.path = "/"}, soon()), Error);
  EXPECT_EQ(arrived, 2);
}

TEST_F(TlsServer, TellsWhatEndedAHandshake) {
  start({.handshake = std::chrono::milliseconds(500)}, echo, server_tls());
  EXPECT_THROW(client().exchange({.path = "/"}, soon()), Error);
  EXPECT_EQ(troubles_.pop(), Trouble::no_certificate);
  RawClient plain(address());
  plain.send("GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(troubles_.pop(), Trouble::handshake);
  RawClient silent(address());
  EXPECT_EQ(troubles_.pop(), Trouble::slow_handshake);
  // Whom the check refuses, it has told of.
  EXPECT_THROW(client(&other).exchange({.path = "/"}, soon()), Error);
  EXPECT_TRUE(troubles_.is_empty());
}

TEST_F(HttpServer, TellsWhatItRefusedAlone) {
  start({.body = 10, .head = 400, .headers = std::chrono::milliseconds(500)});
  ask("POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\n12345678901");
  EXPECT_EQ(troubles_.pop(), Trouble::body_too_large);
  ask("GET / HTTP/1.1\r\nA: " + std::string(500, 'a') + "\r\n\r\n");
  EXPECT_EQ(troubles_.pop(), Trouble::head_too_large);
  ask("what?\r\n\r\n");
  EXPECT_EQ(troubles_.pop(), Trouble::bad_request);
  ask("GET / HTT");
  EXPECT_EQ(troubles_.pop(), Trouble::slow_request);
}

TEST_F(TlsServer, ACertificateMayBeOptional) {
  start({}, echo, server_tls(ClientCertificate::optional));
  EXPECT_EQ(body_of(client().exchange({.path = "/"}, soon())), "GET /?  ");
  EXPECT_EQ(body_of(client(&device).exchange({.path = "/"}, soon())), "GET /?  device-1");
  EXPECT_EQ(code_of([&] { client(&other).exchange({.path = "/"}, soon()); }), ErrorCode::not_authorised);
}

TEST_F(TlsServer, RevocationReachesOpenConnections) {
  Server& server = start({}, echo, server_tls());
  Client one = client(&device);
  EXPECT_EQ(one.exchange({.path = "/"}, soon()).status, 200U);
  revoked = true;
  server.close_connections([&](const Peer& peer) { return peer.certificate == device.certificate; });
  EXPECT_EQ(code_of([&] { one.exchange({.path = "/"}, soon()); }), ErrorCode::not_authorised);
}

TEST_F(TlsServer, TheClientBelievesItsPinnedRootAndTheNameOnly) {
  start({}, echo, server_tls(ClientCertificate::none));
  Identity stranger = issue(text("root", kCaExtensions));
  EXPECT_EQ(code_of([&] { client(nullptr, &stranger).exchange({.path = "/"}, soon()); }),
            ErrorCode::protocol);
  EXPECT_EQ(client().exchange({.path = "/"}, soon()).status, 200U);
  Identity elsewhere = issue(text("server", with_address("127.0.0.9")), &root);
  server_->use({.identity = {.chain = {elsewhere.certificate}, .key = elsewhere.key.get()}});
  EXPECT_EQ(code_of([&] { client().exchange({.path = "/"}, soon()); }), ErrorCode::protocol);
}

TEST_F(TlsServer, PlainWordsOnItsPortHurtNobody) {
  start({}, echo, server_tls());
  EXPECT_THAT(ask("GET / HTTP/1.1\r\n\r\n"), testing::Not(HasSubstr("200")));
  EXPECT_EQ(body_of(client(&device).exchange({.path = "/"}, soon())), "GET /?  device-1");
}

TEST_F(TlsServer, KeyAndCertificateMustBelongTogether) {
  ServerTls tls = server_tls();
  tls.identity.key = other.key.get();
  EXPECT_EQ(code_of([&] { start({}, echo, tls); }), ErrorCode::configuration);
}

TEST(HttpConnections, WhoDoesNotTakeItsAnswerGivesWayLast) {
  Connections connections({.connections = 2});
  const Connections::TimePoint begin{};
  std::vector<int> closed;
  auto admit = [&](int number, std::chrono::seconds after) {
    return connections.admit(
        "127.0.0.1", [&closed, number](auto) { closed.push_back(number); }, begin + after);
  };
  std::uint64_t deaf = admit(1, std::chrono::seconds(0)).value();
  std::uint64_t slow = admit(2, std::chrono::seconds(0)).value();
  connections.enter(deaf, Stage::writing, begin);
  connections.enter(slow, Stage::answering, begin);
  EXPECT_FALSE(admit(3, std::chrono::seconds(1))) << "it may be reading";
  connections.enter(slow, Stage::reading, begin + std::chrono::seconds(2));
  std::uint64_t next = admit(4, std::chrono::seconds(3)).value();
  EXPECT_EQ(closed, std::vector{2}) << "who is slow to ask went first";
  connections.enter(next, Stage::answering, begin + std::chrono::seconds(3));
  EXPECT_TRUE(admit(5, std::chrono::seconds(3)));
  EXPECT_EQ(closed, (std::vector{2, 1}));
}

TEST(HttpConnections, OneClientCannotTakeAllPlaces) {
  Connections connections({.connections_per_client = 2});
  const Connections::TimePoint begin{};
  std::vector<std::uint64_t> closed;
  auto connect = [&](const std::string& name, int second) {
    Connections::TimePoint now = begin + std::chrono::seconds(second);
    auto number = std::make_shared<std::uint64_t>();
    *number = connections
                  .admit(
                      "127.0.0.1", [&, number](auto) { closed.push_back(*number); }, now)
                  .value();
    Peer peer;
    peer.address = "127.0.0.1";
    peer.connection = *number;
    peer.client = name;
    connections.set_peer(peer);
    return *number;
  };
  auto arrive = [&](const std::string& name, int second) {
    std::uint64_t number = connect(name, second);
    Connections::TimePoint now = begin + std::chrono::seconds(second);
    bool may_stay = connections.arrive(number, now);
    if (may_stay) connections.enter(number, Stage::idle, now);
    return may_stay ? number : 0;
  };
  std::uint64_t other = arrive("other", 0);
  std::uint64_t first = arrive("one", 1);
  std::uint64_t second = arrive("one", 2);
  connect("one", 3);  // says so, and has not proven it
  EXPECT_THAT(closed, testing::IsEmpty());
  EXPECT_TRUE(arrive("one", 4));
  EXPECT_EQ(closed, std::vector{first}) << "its own that has waited longest went";
  connections.remove(second);
  closed.clear();
  std::uint64_t busy = arrive("one", 5);
  EXPECT_THAT(closed, testing::IsEmpty()) << "one that has gone is not counted";
  connections.enter(busy, Stage::answering, begin + std::chrono::seconds(5));
  std::uint64_t busier = arrive("one", 6);
  EXPECT_EQ(closed.size(), 1U);
  connections.enter(busier, Stage::answering, begin + std::chrono::seconds(6));
  EXPECT_FALSE(arrive("one", 7)) << "all are being answered";
  EXPECT_TRUE(arrive("", 8) && arrive("", 8) && arrive("", 8)) << "who has no name is not counted";
  EXPECT_TRUE(connections.enter(other, Stage::idle, begin + std::chrono::seconds(9)));
}

TEST(HttpUrl, SaysWhereAndHow) {
  Url url = Url::parse("https://ca.example:8443/base?x=1");
  EXPECT_TRUE(url.is_tls);
  EXPECT_EQ(url.host, "ca.example");
  EXPECT_EQ(url.port, "8443");
  EXPECT_EQ(url.path, "/base?x=1");
  EXPECT_EQ(Url::parse("http://[::1]:80").host, "::1");
  EXPECT_EQ(Url::parse("http://[::1]").authority(), "[::1]:80");
  EXPECT_EQ(Url::parse("https://h").port, "443");
  for (const char* bad : {"ftp://h", "https://", "https://h:", "https://h:0", "https://h:65536",
                          "https://u@h", "https://h/#f", "https://h/a b", "https://[::1", "h"}) {
    EXPECT_EQ(code_of([&] { Url::parse(bad); }), ErrorCode::usage) << bad;
  }
}

TEST(HttpListener, SaysWhatItCannotHave) {
  Listener first = Listener::bind("127.0.0.1:0");
  EXPECT_THAT(first.address(), testing::MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]*"));
  EXPECT_EQ(code_of([&] { Listener::bind(first.address()); }), ErrorCode::configuration);
  EXPECT_EQ(code_of([&] { Listener::bind("127.0.0.1"); }), ErrorCode::usage);
  EXPECT_EQ(code_of([&] { Listener::bind("127.0.0.1:x"); }), ErrorCode::usage);
  EXPECT_EQ(code_of([&] { Listener::bind("192.0.2.1:0"); }), ErrorCode::configuration);
}

}  // namespace
}  // namespace fleetroot::http
