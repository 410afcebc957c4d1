#include "tool/shared_provisioning.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <unistd.h>

#include <map>
#include <nlohmann/json.hpp>

#include "lib/base/files.h"
#include "lib/base/process.h"
#include "lib/base/secret.h"
#include "lib/http/client.h"
#include "lib/x509/pem.h"

namespace fleetroot::station {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Pkcs12Ptr = std::unique_ptr<PKCS12, FreeWith<PKCS12_free>>;

constexpr std::size_t kMaximumMember = 64 * 1024;
constexpr std::chrono::seconds kPatience{60};

Error bad_archive(const fs::path& path, const std::string& why) {
  return {ErrorCode::bad_request,
          fmt::format("{} is no archive of shared credentials: {}", path.string(), why),
          "take it as fleetroot-gateway credentials create made it"};
}

// By bsdtar, in a process of its own: what comes from outside is not taken apart in this one.
std::string read_member(const fs::path& path, const char* name) {
  ChildProcess unzip({"bsdtar", "-x", "-O", "-f", path.string(), name});
  unzip.close_input();
  std::optional<Bytes> content =
      read_to_end(unzip.stdout_fd(), kMaximumMember, std::chrono::steady_clock::now() + kPatience);
  if (!content) throw bad_archive(path, fmt::format("its {} is too large", name));
  if (unzip.wait() != 0) throw bad_archive(path, fmt::format("it holds no sound {}", name));
  std::string text(as_text(*content));
  wipe(content->data(), content->size());
  return text;
}

std::map<std::string, std::string> read_archive(const fs::path& path) {
  std::string bytes = read_file(path);
  bool is_zip = bytes.starts_with("PK");
  wipe(bytes.data(), bytes.size());
  if (!is_zip) throw bad_archive(path, "it is no ZIP");
  std::map<std::string, std::string> members;
  for (const char* name : {"autoprov.url", "autoprov_credentials.p12", "server_ca.pem"}) {
    members[name] = read_member(path, name);
  }
  return members;
}

// Key, certificate and whom the server's certificate must lead to.
struct Identity {
  EvpPkeyPtr key;
  Certificate certificate;
  std::vector<Certificate> roots;
};

Identity open_bundle(std::string_view bytes, const char* what) {
  const auto* in = reinterpret_cast<const unsigned char*>(bytes.data());
  Pkcs12Ptr bundle(d2i_PKCS12(nullptr, &in, static_cast<long>(bytes.size())));
  EVP_PKEY* key = nullptr;
  X509* certificate = nullptr;
  STACK_OF(X509)* others = nullptr;
  if (!bundle || PKCS12_parse(bundle.get(), "", &key, &certificate, &others) != 1 || key == nullptr ||
      certificate == nullptr) {
    throw openssl_error(ErrorCode::protocol, fmt::format("{} is no PKCS#12 without a password", what),
                        "ask whoever runs the gateway");
  }
  EvpPkeyPtr owned_key(key);
  Certificate owned{X509Ptr(certificate)};
  X509StackPtr owned_others(others);
  std::vector<Certificate> roots;
  for (int i = 0; i < sk_X509_num(others); ++i) {
    X509* root = sk_X509_value(others, i);
    X509_up_ref(root);
    roots.emplace_back(X509Ptr(root));
  }
  return {std::move(owned_key), std::move(owned), std::move(roots)};
}

std::string key_pem(EVP_PKEY* key) {
  BioPtr memory(BIO_new(BIO_s_secmem()));
  if (PEM_write_bio_PrivateKey(memory.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    throw openssl_error(ErrorCode::internal, "cannot write a key", "report this");
  }
  return text_in(memory.get());
}

EvpPkeyPtr read_key(const fs::path& path) {
  std::string pem = read_file(path);
  BioPtr memory = pem_reader(pem);
  EvpPkeyPtr key(PEM_read_bio_PrivateKey(memory.get(), nullptr, no_pass_phrase, nullptr));
  wipe(pem.data(), pem.size());
  if (!key) {
    throw openssl_error(ErrorCode::configuration, fmt::format("{} holds no key", path.string()),
                        "remove the directory and register the device under another ID");
  }
  return key;
}

[[noreturn]] void refuse(const SharedJob& job, const http::Response& response) {
  json answer = json::parse(response.body.begin(), response.body.end(), nullptr, false);
  json code_member = answer.is_object() ? answer.value("code", json()) : json();
  std::string code = code_member.is_string() ? code_member.get<std::string>() : "";
  if (code == "device_already_registered") {
    throw Error(ErrorCode::device_has_certificate,
                fmt::format("the gateway knows a device {} already", job.device_id.text()),
                "its files are where it was registered; choose another ID for another device");
  }
  throw Error(ErrorCode::not_authorised, fmt::format("the gateway makes no device {}", job.device_id.text()),
              "ask whoever made the shared credentials", fmt::format("status {}, {}", response.status, code));
}

// The PKCS#12 that the gateway makes for this device, once.
Bytes ask_gateway(const SharedJob& job, std::map<std::string, std::string>& archive, const std::string& url) {
  std::string& bundle = archive.at("autoprov_credentials.p12");
  Identity shared = open_bundle(bundle, "autoprov_credentials.p12");
  wipe(bundle.data(), bundle.size());
  std::string body = json{{"deviceId", job.device_id.text()}, {"ttl", 36000}}.dump();
  http::Url address = http::Url::parse(url);
  http::Client client(
      address,
      http::ClientTls{.roots = Certificate::list_from_pem(archive.at("server_ca.pem")),
                      .identity = http::TlsIdentity{.chain = {shared.certificate}, .key = shared.key.get()}});
  std::string path = (address.path == "/" ? "" : address.path) + "/devices";
  http::Response response = client.exchange({.method = "POST",
                                             .path = path,
                                             .content_type = "application/json",
                                             .body = Bytes(body.begin(), body.end()),
                                             .may_repeat = false},
                                            std::chrono::steady_clock::now() + kPatience);
  if (response.status != 200) refuse(job, response);
  return std::move(response.body);
}

// Where the gateway's answer goes, on disk before it is asked for: it comes once, and neither a full disk nor
// power loss a moment later may cost the device its identity. What a run before this one got is here, too.
class KeptAnswer {
 public:
  explicit KeptAnswer(fs::path path) : path_(std::move(path)) {}

  // What is here, or what `ask` returns.
  template <typename Ask>
  std::string get_or(Ask ask) {
    std::optional<std::string> kept = read_file_if_present(path_);
    if (kept && kept->find_first_not_of('\0') != std::string::npos) return std::move(*kept);
    write_file(path_, std::string(kMaximumMember, '\0'), 0600);
    Bytes answer;
    try {
      answer = ask();
    } catch (...) {
      drop();
      throw;
    }
    keep(answer);
    std::string text(as_text(answer));
    wipe(answer.data(), answer.size());
    return text;
  }
  void drop() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }

 private:
  // In the place that is reserved.
  void keep(const Bytes& answer) const {
    FileDescriptor file(open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
    bool good = file && write_fully(file.get(), answer) &&
                ftruncate(file.get(), static_cast<off_t>(answer.size())) == 0 && fdatasync(file.get()) == 0;
    if (good) return;
    throw system_error(ErrorCode::io, fmt::format("cannot write {}", path_.string()),
                       "check the disk; the gateway has made the device, and makes it only once", errno);
  }

  fs::path path_;
};

Identity identity_in(std::string_view answer, const DeviceId& id) {
  Identity device = open_bundle(answer, "the gateway's answer");
  bool is_right = device.certificate.common_name() == id.text() && !device.roots.empty() &&
                  X509_check_private_key(device.certificate.x509(), device.key.get()) == 1;
  if (!is_right) {
    throw Error(ErrorCode::certificate_rejected, "the gateway made something else than was asked for",
                "ask whoever runs the gateway");
  }
  return device;
}

void write_identity(const fs::path& directory, const Identity& device) {
  std::string key = key_pem(device.key.get());
  write_file(directory / "device.key", key, 0600);
  wipe(key.data(), key.size());
  write_file(directory / "gateway-root.pem", to_pem(device.roots));
  // Last: with it, all of it is there.
  write_file(directory / "device.pem", device.certificate.pem());
}

}  // namespace

std::string provision_shared(const SharedJob& job) {
  std::map<std::string, std::string> archive = read_archive(job.credentials);
  std::string url = job.url.empty() ? archive.at("autoprov.url") : job.url;
  while (url.ends_with('\n') || url.ends_with('\r')) url.pop_back();
  if (!fs::exists(job.out / "device.pem")) {
    if (!fs::exists(job.out)) make_private_directory(job.out);
    KeptAnswer kept(job.out / "answer.p12");
    std::string answer = kept.get_or([&] { return ask_gateway(job, archive, url); });
    write_identity(job.out, identity_in(answer, job.device_id));
    wipe(answer.data(), answer.size());
    kept.drop();
  }
  Certificate certificate = Certificate::from_pem(read_file(job.out / "device.pem"));
  EvpPkeyPtr key = read_key(job.out / "device.key");
  Gateway gateway{.url = url, .roots = Certificate::list_from_pem(read_file(job.out / "gateway-root.pem"))};
  return meet_gateway(gateway, {certificate}, key.get(), job.device_id);
}

}  // namespace fleetroot::station
