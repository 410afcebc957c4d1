// Who is who: server and client with TLS.
#include <gmock/gmock.h>

#include <atomic>

#include "tests/software_pki.h"
#include "tests/unit/http_fixture.h"

namespace fleetroot::http {
namespace {

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

// A server's certificate begins when it is made, by the server's clock.
TEST_F(TlsServer, WhatIsNotValidYetIsWaitedForOrAMatterOfClocksAndWhatHasExpiredSaysSo) {
  start({}, echo, server_tls(ClientCertificate::none));
  auto refusal_of = [&](std::chrono::seconds begins_in, std::chrono::seconds ends_in) {
    CertificateText made = text("server", with_address("127.0.0.1"));
    Time now = SystemClock().now();
    made.begins_before = kTestTime - (now + begins_in);
    made.ends_after = now + ends_in - kTestTime;
    Identity other_time = issue(made, &root);
    server_->use({.identity = {.chain = {other_time.certificate}, .key = other_time.key.get()}});
    return error_of([&] { client().exchange({.path = "/"}, soon()); });
  };
  constexpr std::chrono::hours kHour{1};
  Error soon_valid = refusal_of(std::chrono::seconds(50), kHour);
  EXPECT_EQ(soon_valid.code(), ErrorCode::ca_unreachable);
  EXPECT_THAT(soon_valid.message(), testing::HasSubstr("is valid from"));
  Error ahead = refusal_of(kHour, 2 * kHour);
  EXPECT_EQ(ahead.code(), ErrorCode::clock);
  EXPECT_THAT(ahead.hint(), testing::HasSubstr("set this machine's clock right"));
  Error expired = refusal_of(-2 * kHour, -kHour);
  EXPECT_EQ(expired.code(), ErrorCode::protocol);
  EXPECT_THAT(expired.cause(), testing::HasSubstr("expired"));
  EXPECT_THAT(expired.hint(), testing::HasSubstr("certificate renewed"));
}

TEST_F(TlsServer, PlainWordsOnItsPortHurtNobody) {
  start({}, echo, server_tls());
  EXPECT_THAT(ask("GET / HTTP/1.1\r\n\r\n"), testing::Not(testing::HasSubstr("200")));
  EXPECT_EQ(body_of(client(&device).exchange({.path = "/"}, soon())), "GET /?  device-1");
}

TEST_F(TlsServer, KeyAndCertificateMustBelongTogether) {
  ServerTls tls = server_tls();
  tls.identity.key = other.key.get();
  EXPECT_EQ(code_of([&] { start({}, echo, tls); }), ErrorCode::configuration);
}

}  // namespace
}  // namespace fleetroot::http
