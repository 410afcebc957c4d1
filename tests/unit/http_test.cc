// Server and client without TLS.
#include <fcntl.h>
#include <gmock/gmock.h>

#include <future>

#include "tests/unit/http_fixture.h"

namespace fleetroot::http {
namespace {

using std::chrono::steady_clock;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

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
  EXPECT_THAT(ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n" + std::string(101, 'x')),
              StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(ask("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" +
                  std::string(101, 'x') + "\r\n0\r\n\r\n"),
              StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
              StartsWith("HTTP/1.1 400 "));
  for (const char* target : {"?x", "http://elsewhere/", "x/y"})
    EXPECT_THAT(ask("GET " + std::string(target) + " HTTP/1.1\r\nHost: x\r\n\r\n"),
                StartsWith("HTTP/1.1 400 "))
        << target;
  EXPECT_EQ(get("/still"), "GET /still?  ");
}

TEST_F(HttpServer, BoundsWhatStandsBetweenChunksAndBehindThem) {
  start({.body = 100'000, .head = 1000});
  const std::string head =
      "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string endless(50'000, 'x');
  EXPECT_THAT(ask(head + "1;x=" + endless), StartsWith("HTTP/1.1 431 "));
  EXPECT_THAT(ask(head + "0\r\nX: " + endless), StartsWith("HTTP/1.1 431 "));
  EXPECT_EQ(troubles_.pop(), Trouble::head_too_large);
  // What is in a chunk may be longer.
  EXPECT_THAT(ask(head + "c350\r\n" + endless + "\r\n0\r\nX: y\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
}

// What another server on the way would read differently is not read at all (RFC 9112 section 6.1).
TEST_F(HttpServer, RefusesARequestWhoseEndIsAMatterOfOpinion) {
  start();
  const std::string hidden = "\r\n\r\nGET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
  auto answer_to = [&](const std::string& version, const std::string& fields) {
    std::string answer = ask("POST /first HTTP/" + version + "\r\n" + fields + hidden);
    EXPECT_THAT(answer, Not(HasSubstr("hidden"))) << fields;
    return answer.substr(std::string("HTTP/1.1 ").size(), 3);
  };
  for (const char* codings : {"xchunked", "chunked, gzip", "gzip, chunked", "gzip", "identity", "chunked;x",
                              "", "gzip\r\nTransfer-Encoding: chunked"})
    EXPECT_EQ(answer_to("1.1", "Host: x\r\nTransfer-Encoding: " + std::string(codings)), "501") << codings;
  for (const char* both :
       {"Transfer-Encoding: chunked\r\nContent-Length: 1", "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip\r\nContent-Length: 1", "Transfer-Encoding: identity\r\nContent-Length: 0",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"})
    EXPECT_EQ(answer_to("1.1", "Host: x\r\n" + std::string(both)), "400") << both;
  for (const char* coding : {"chunked", "gzip"})
    EXPECT_EQ(answer_to("1.0", "Transfer-Encoding: " + std::string(coding)), "400") << coding;
  EXPECT_EQ(troubles_.pop(), Trouble::bad_request);
}

TEST_F(HttpServer, WantsOneHost) {
  start();
  EXPECT_THAT(ask("GET / HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(ask("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(ask("GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(ask("GET / HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(ask("GET / HTTP/1.0\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
}

std::string fields_of(const std::vector<Header>& headers) {
  std::string fields;
  for (const Header& header : headers) fields += header.name + ": " + header.value + "\n";
  return fields;
}

TEST_F(HttpServer, WhatStandsBehindABodyIsNoHeader) {
  start({}, [](const Request& request, Reply reply) {
    reply(Response::text(200, fields_of(request.headers) + std::string(as_text(request.body))));
  });
  const std::string head =
      "POST / HTTP/1.1\r\nHost: x\r\nA: 1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n";
  const std::string body = "\r\n2\r\nhi\r\n0\r\n";
  const std::string trailer = "Authorization: all\r\nA: 2\r\nContent-Type: x\r\n\r\n";
  const std::string good = "Host: x\nA: 1\nConnection: close\nTransfer-Encoding: chunked\nhi";
  EXPECT_THAT(ask(head + body + trailer), EndsWith("\r\n\r\n" + good));
  RawClient slow(address());
  slow.send(head + body.substr(0, 6));
  slow.send(body.substr(6) + trailer.substr(0, 5));
  slow.send(trailer.substr(5));
  EXPECT_THAT(slow.read_all(), EndsWith("\r\n\r\n" + good));

  for (const char* interim : {"", "HTTP/1.1 103 Early Hints\r\nB: 1\r\n\r\n"}) {
    RawServer server(interim + ("HTTP/1.1 200 OK\r\nA: 1\r\nTransfer-Encoding: chunked\r\n" + body) +
                     trailer);
    Response response = Client(server.url(), std::nullopt).exchange({.path = "/"}, soon());
    EXPECT_EQ(fields_of(response.headers) + response.content_type + body_of(response),
              "A: 1\nTransfer-Encoding: chunked\nhi");
  }
}

TEST_F(HttpServer, TheClientTakesNoAnswerWhoseEndIsAMatterOfOpinion) {
  for (const char* answer : {"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
                             "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"}) {
    RawServer server(answer);
    Client one(server.url(), std::nullopt);
    EXPECT_EQ(code_of([&] { one.exchange({.path = "/"}, soon()); }), ErrorCode::protocol) << answer;
  }
}

TEST_F(HttpServer, SaysNoLengthOfABodyThatThereCannotBe) {
  start({}, [](const Request& request, Reply reply) {
    reply({.status = static_cast<unsigned>(std::stoi(request.path.substr(1)))});
  });
  for (const char* status : {"199", "204", "304", "200", "205"}) {
    std::string answer = ask("GET /" + std::string(status) + " HTTP/1.0\r\n\r\n");
    bool has_length = answer.find("Content-Length") != std::string::npos;
    EXPECT_EQ(has_length, status[0] == '2' && status != std::string("204")) << answer;
  }
}

TEST_F(HttpServer, TheClientGoesAlongWithNoOtherProtocol) {
  RawServer server("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nwords");
  Client one(server.url(), std::nullopt);
  EXPECT_EQ(code_of([&] { one.exchange({.path = "/"}, soon()); }), ErrorCode::protocol);
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
  raw.send(
      "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n");
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
  raw.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
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
  first.send("GET /first HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
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

TEST_F(HttpServer, TellsWhatItRefusedAlone) {
  start({.body = 10, .head = 400, .headers = std::chrono::milliseconds(500)});
  ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n12345678901");
  EXPECT_EQ(troubles_.pop(), Trouble::body_too_large);
  ask("GET / HTTP/1.1\r\nA: " + std::string(500, 'a') + "\r\n\r\n");
  EXPECT_EQ(troubles_.pop(), Trouble::head_too_large);
  ask("what?\r\n\r\n");
  EXPECT_EQ(troubles_.pop(), Trouble::bad_request);
  ask("GET / HTT");
  EXPECT_EQ(troubles_.pop(), Trouble::slow_request);
}

}  // namespace
}  // namespace fleetroot::http
