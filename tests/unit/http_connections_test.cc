// Who may stay connected, and where: connections, addresses and listeners without a server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "lib/http/connections.h"
#include "lib/http/server.h"
#include "lib/http/url.h"
#include "tests/expect_error.h"
#include "tests/software_pki.h"

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

// Connections by name, and who was sent away for them.
class FullServer : public testing::Test {
 protected:
  void connect(const std::string& name, double second, const std::string& address = "192.0.2.1") {
    Connections::Close close = [this, name](Connections::Reason) { closed_.push_back(name); };
    numbers_[name] = connections_.admit(address, std::move(close), at(second)).value();
    addresses_[name] = address;
  }
  // Its handshake is over, and it begins a request if it `reads`.
  void arrive(const std::string& name, double second, bool reads,
              std::optional<Certificate> certificate = {}) {
    Peer peer;
    peer.address = addresses_.at(name);
    peer.connection = numbers_.at(name);
    peer.certificate = std::move(certificate);
    connections_.set_peer(peer);
    EXPECT_TRUE(connections_.arrive(peer.connection, at(second)));
    EXPECT_TRUE(connections_.enter(peer.connection, reads ? Stage::reading : Stage::idle, at(second)));
  }
  static Connections::TimePoint at(double second) {
    return Connections::TimePoint() + std::chrono::milliseconds(std::lround(second * 1000));
  }

  Connections connections_{{.connections = 4}};
  std::vector<std::string> closed_;
  std::map<std::string, std::uint64_t> numbers_;
  std::map<std::string, std::string> addresses_;
};

TEST_F(FullServer, AYoungHandshakeOutlivesStrangersThatWait) {
  for (const char* name : {"half a request", "another", "idle"}) connect(name, 0);
  arrive("half a request", 0.1, true);
  arrive("another", 0.3, true);
  arrive("idle", 0.2, false);
  connect("station", 1);
  connect("flood 1", 1.1);
  connect("flood 2", 1.2);
  connect("flood 3", 1.3);
  EXPECT_EQ(closed_, (std::vector<std::string>{"half a request", "idle", "another"}));
  connect("flood 4", 1.4);
  EXPECT_EQ(closed_.back(), "station") << "of handshakes alone the oldest";
  connect("flood 5", 3.35);
  EXPECT_EQ(closed_.back(), "flood 1") << "had its two seconds";
}

TEST_F(FullServer, ThoseGoFirstWhoComeInACrowd) {
  connect("station", 0, "192.0.2.2");
  for (int i = 1; i <= 3; ++i) connect("crowd " + std::to_string(i), 0.1 * i);
  connect("crowd 4", 0.4);
  EXPECT_EQ(closed_, std::vector<std::string>{"crowd 1"});
}

TEST_F(FullServer, WhoHasProvenItsKeyGoesLast) {
  Certificate certificate = issue({.common_name = "station", .extensions = kClientExtensions}).certificate;
  for (const char* name : {"known", "known and slow"}) {
    connect(name, 0);
    arrive(name, 0, name == std::string("known and slow"), certificate);
  }
  // A certificate that is shown before the handshake ends proves nothing.
  connect("claims", 1);
  Peer peer;
  peer.address = "192.0.2.1";
  peer.connection = numbers_.at("claims");
  peer.certificate = certificate;
  connections_.set_peer(peer);
  connect("new 1", 1.1);
  connect("new 2", 1.2);
  connect("new 3", 1.3);
  EXPECT_EQ(closed_, (std::vector<std::string>{"claims", "new 1"}));
  arrive("new 2", 1.4, false, certificate);
  arrive("new 3", 1.4, true);
  connect("new 4", 1.5);
  EXPECT_EQ(closed_.back(), "new 3") << "the only stranger";
  arrive("new 4", 1.6, false, certificate);
  connect("new 5", 1.7);
  EXPECT_EQ(closed_.back(), "known") << "idle, and longest";
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
  // With colons an address must be in brackets: its end could be a port.
  for (const char* bad : {"127.0.0.1", "127.0.0.1:x", "::1", "[::1]", "::1:8443", "2001:db8::5",
                          "[2001:db8::5]", "[::1", "[::1:0", "::1]:0", "[::1]0", "[]:0", ":0", ""})
    EXPECT_EQ(code_of([&] { Listener::bind(bad); }), ErrorCode::usage) << bad;
  EXPECT_EQ(code_of([&] { Listener::bind("192.0.2.1:0"); }), ErrorCode::configuration);
}

}  // namespace
}  // namespace fleetroot::http
