// Who may stay connected, and where: connections, addresses and listeners without a server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/http/connections.h"
#include "lib/http/server.h"
#include "lib/http/url.h"
#include "tests/expect_error.h"

namespace fleetroot::http {
namespace {

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
