// Stock `openssl cmp` as the judge of our responder, over the smallest HTTP server that it talks to.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <thread>

#include "lib/base/files.h"
#include "lib/base/process.h"
#include "tests/unit/cmp_fixture.h"

namespace fleetroot::cmp {
namespace {

namespace fs = std::filesystem;

// One POST at a time on 127.0.0.1, as RFC 6712 has it, until the object dies.
class HttpServer {
 public:
  explicit HttpServer(Responder& responder)
      : responder_(responder), socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(socket_.get(), generic, size), 0);
    EXPECT_EQ(listen(socket_.get(), 8), 0);
    EXPECT_EQ(getsockname(socket_.get(), generic, &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~HttpServer() {
    shutdown(socket_.get(), SHUT_RDWR);  // ends accept()
    thread_.join();
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  void serve() {
    for (;;) {
      FileDescriptor connection(accept(socket_.get(), nullptr, nullptr));
      if (!connection) return;
      std::string answer = answer_to(read_body(connection.get()));
      write_fully(connection.get(), as_bytes(answer));
    }
  }

  static std::string read_body(int connection) {
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    std::string head;
    std::uint8_t octet = 0;
    while (!head.ends_with("\r\n\r\n")) {
      if (read_fully(connection, {&octet, 1}, deadline) != ReadResult::complete) return {};
      head.push_back(static_cast<char>(octet));
    }
    constexpr std::string_view kLength = "Content-Length: ";
    std::size_t size = 0;
    std::size_t begin = head.find(kLength);
    if (begin == std::string::npos) return {};
    std::from_chars(head.data() + begin + kLength.size(), head.data() + head.size(), size);
    Bytes body(size);
    if (read_fully(connection, body, deadline) != ReadResult::complete) return {};
    return std::string(as_text(body));
  }

  std::string answer_to(const std::string& body) {
    try {
      Bytes answer = responder_.respond(as_bytes(body));
      return "HTTP/1.1 200 OK\r\nContent-Type: application/pkixcmp\r\nConnection: close\r\nContent-Length: " +
             std::to_string(answer.size()) + "\r\n\r\n" + std::string(as_text(answer));
    } catch (const Error&) {
      return "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    }
  }

  Responder& responder_;
  FileDescriptor socket_;
  int port_ = 0;
  std::thread thread_;
};

class CmpInterop : public CmpTest {
 public:
  ~CmpInterop() override { fs::remove_all(directory); }

 protected:
  CmpInterop() {
    char pattern[] = "/tmp/fleetroot-cmp-XXXXXX";
    directory = mkdtemp(pattern);
    write_file(directory / "ca.pem", ca.certificate.pem());
    write_party("station", station);
    write_party("stranger", other_station);
    write_file(directory / "device.csr", request.pem());
  }

  void write_party(const std::string& name, const Party& party) {
    write_file(directory / (name + ".pem"), party.certificate.pem());
    BioPtr memory(BIO_new(BIO_s_mem()));
    PEM_write_bio_PrivateKey(memory.get(), party.key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    char* text = nullptr;
    long size = BIO_get_mem_data(memory.get(), &text);
    write_file(directory / (name + ".key"), {text, static_cast<std::size_t>(size)}, 0600);
  }

  // Exit code and everything printed.
  std::pair<int, std::string> openssl_cmp(const std::string& options) {
    HttpServer server(responder);
    std::string out = (directory / "output").string();
    ChildProcess openssl({"sh", "-c",
                          "cd '" + directory.string() +
                              "' && exec openssl cmp -config '' -cmd p10cr -server " + server.address() +
                              " -path /.well-known/cmp -msg_timeout 20 -csr device.csr " +
                              "-certout new.pem " + options + " >'" + out + "' 2>&1"});
    int status = openssl.wait();
    return {status, read_file(out)};
  }

  fs::path directory;
};

constexpr const char* kAsStation = "-cert station.pem -key station.key -srvcert ca.pem";

TEST_F(CmpInterop, StockClientEnrollsAndConfirms) {
  auto [status, output] = openssl_cmp(kAsStation);
  ASSERT_EQ(status, 0) << output;
  ASSERT_EQ(authority.issued.size(), 1U);
  EXPECT_EQ(Certificate::from_pem(read_file(directory / "new.pem")), authority.issued[0]);
  ASSERT_EQ(authority.outcomes.size(), 1U);
  EXPECT_TRUE(authority.outcomes[0].accepted);
}

TEST_F(CmpInterop, StockClientFindsTheAnswerSignedUnderItsTrustAnchor) {
  auto [status, output] = openssl_cmp(
      "-cert station.pem -key station.key -trusted ca.pem -recipient '/CN=Factory CA' -out_trusted ca.pem");
  ASSERT_EQ(status, 0) << output;
  EXPECT_EQ(authority.outcomes.size(), 1U);
}

TEST_F(CmpInterop, ConfirmationStaysExplicitWhenTheClientWouldSpareIt) {
  auto [status, output] = openssl_cmp(std::string(kAsStation) + " -implicit_confirm");
  ASSERT_EQ(status, 0) << output;
  EXPECT_EQ(authority.outcomes.size(), 1U);
}

TEST_F(CmpInterop, StockClientShowsTheRefusal) {
  authority.issuing = [](auto&, auto&) {
    throw Error(ErrorCode::order_closed, "the order PO-1 is closed", "open another order");
  };
  auto [status, output] = openssl_cmp(kAsStation);
  EXPECT_NE(status, 0);
  EXPECT_NE(output.find("the order PO-1 is closed. open another order [order_closed]"), std::string::npos)
      << output;
}

TEST_F(CmpInterop, StockClientThatIsNotEnrolledIsRefusedInASignedAnswer) {
  auto [status, output] = openssl_cmp("-cert stranger.pem -key stranger.key -srvcert ca.pem");
  EXPECT_NE(status, 0);
  EXPECT_NE(output.find("[not_authorised]"), std::string::npos) << output;
  EXPECT_TRUE(authority.issued.empty());
}

TEST_F(CmpInterop, StockClientWithAPasswordIsRefused) {
  auto [status, output] = openssl_cmp("-ref station -secret pass:12345 -srvcert ca.pem");
  EXPECT_NE(status, 0);
  EXPECT_NE(output.find("[not_authorised]"), std::string::npos) << output;
  EXPECT_TRUE(authority.issued.empty());
}

TEST_F(CmpInterop, StockClientThatCannotVerifyTheCertificateRejectsIt) {
  Party stranger = make_ca("Another CA");
  write_file(directory / "other.pem", stranger.certificate.pem());
  auto [status, output] = openssl_cmp(std::string(kAsStation) + " -out_trusted other.pem");
  EXPECT_NE(status, 0);
  ASSERT_EQ(authority.outcomes.size(), 1U) << output;
  EXPECT_FALSE(authority.outcomes[0].accepted);
}

}  // namespace
}  // namespace fleetroot::cmp
