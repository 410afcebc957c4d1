// A token on another machine, as p11-kit's remoting shows it: each side has an instance of the module of its
// own.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <thread>

#include "lib/x509/certificate_request.h"
#include "pkcs11/objects.h"
#include "tests/judge.h"
#include "tests/software_pki.h"
#include "tests/token/token_directory.h"

namespace fleetroot::pkcs11 {
namespace {

using testing::ElementsAre;

// The value of NAME=…; in what `p11-kit server` says to a shell.
std::string value_of(const std::string& name, const std::string& text) {
  std::size_t begin = text.find(name + "=");
  if (begin == std::string::npos) return {};
  begin += name.size() + 1;
  return text.substr(begin, text.find(';', begin) - begin);
}

// The server says where it will be before it listens there.
void wait_until_listening(const std::filesystem::path& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket_path.native().copy(address.sun_path, sizeof address.sun_path - 1);
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  for (;;) {
    FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return;
    if (std::chrono::steady_clock::now() > deadline)
      throw std::runtime_error("p11-kit server does not listen");
    std::this_thread::yield();
  }
}

class P11KitClient : public TokenTest {
 public:
  ~P11KitClient() override {
    kill(server_, SIGTERM);
    unsetenv("P11_KIT_SERVER_ADDRESS");
  }

 protected:
  P11KitClient() {
    Judgement server = judge({"p11-kit", "server", "--sh", "--name", directory_ / "socket", "--provider",
                              module_path(), "pkcs11:token=dev-1"});
    setenv("P11_KIT_SERVER_ADDRESS", value_of("P11_KIT_SERVER_ADDRESS", server.output).c_str(), 1);
    server_ = std::stoi(value_of("P11_KIT_SERVER_PID", server.output));
    wait_until_listening(directory_ / "socket");
    remote_ = settings_;
    remote_.uri = "pkcs11:token=dev-1?module-path=" P11_KIT_CLIENT_MODULE "&pin-source=file:dev-1.pin";
    remote_.softhsm_directory.reset();
  }

  pid_t server_ = -1;
  TokenSettings remote_;
};

TEST_F(P11KitClient, GeneratesSignsAndStoresOnTheOtherSide) {
  const KeyName name{KeyId::parse("01"), "identity"};
  Identity root = issue({.common_name = "Root", .extensions = kCaExtensions});
  std::optional<Certificate> certificate;
  {
    SigningKey key = SigningKey::generate(remote_, KeyAlgorithm::p256, name);
    EXPECT_NO_THROW(CertificateRequest::create("dev-1", key.public_key(), key.evp()).refuse_unless_sound());
    EVP_PKEY_up_ref(key.evp());
    certificate =
        issue({.common_name = "dev-1", .extensions = kClientExtensions}, &root, EvpPkeyPtr(key.evp()))
            .certificate;
  }
  {
    OpenToken token(remote_);
    EXPECT_EQ(token.module.profile().name, "p11-kit-client");
    store_certificate(token.session, *certificate, name);
  }
  // Seen from the token's own side.
  OpenToken local(settings_);
  EXPECT_THAT(read_certificates(local.session, name.id), ElementsAre(certificate->der()));
  std::optional<KeyPair> pair = find_key_pair(local.session, name.id);
  ASSERT_TRUE(pair);
  EXPECT_EQ(pair->public_key, certificate->public_key());
  EXPECT_NO_THROW(refuse_unless_sound(local.session, *pair));
  EXPECT_NO_THROW(prove_pair(local.session, *pair));
}

TEST_F(P11KitClient, FindsNoTokenWhereNoServerIs) {
  setenv("P11_KIT_SERVER_ADDRESS", ("unix:path=" + (directory_ / "nobody").string()).c_str(), 1);
  EXPECT_THROW(OpenToken token(remote_), Error);
}

}  // namespace
}  // namespace fleetroot::pkcs11
