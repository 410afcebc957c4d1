#include "tool/key_process.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "lib/base/frame.h"
#include "pkcs11/pin.h"

namespace fleetroot::station {
namespace {

using std::chrono::steady_clock;

// A token that wants to be touched gets a minute.
constexpr std::chrono::seconds kSignatureTimeout{60};

constexpr std::uint8_t kResult = 0;
constexpr std::uint8_t kFailure = 1;
constexpr std::uint8_t kSign = 2;

Bytes encode_error(const Error& error) {
  std::string json =
      nlohmann::json{{"code", name_of(error.code())}, {"message", error.what()}, {"hint", error.hint()}}.dump(
          -1, ' ', false, nlohmann::json::error_handler_t::replace);
  return {json.begin(), json.end()};
}

Bytes read_result(int fd) {
  std::optional<Frame> frame = read_frame(fd, steady_clock::now() + kSignatureTimeout);
  if (!frame) {
    throw Error(ErrorCode::token_unplugged, "the station's own token does not answer",
                "check the station's token, then run the same command again");
  }
  if (frame->tag == kResult) return std::move(frame->body);
  nlohmann::json error = nlohmann::json::parse(frame->body);
  ErrorCode code = error_code_from_name(error.at("code").get<std::string>());
  // What holds a device, where it is its own token that fails.
  if (exit_code(code) == exit_code(ErrorCode::token_failed)) code = ErrorCode::configuration;
  throw Error(code, "the station's own key: " + error.at("message").get<std::string>(),
              error.at("hint").get<std::string>());
}

class RemoteSigner : public pkcs11::Signer {
 public:
  explicit RemoteSigner(std::shared_ptr<ChildProcess> child) : child_(std::move(child)) {}
  Bytes sign(const pkcs11::SignatureInput& input) override {
    Bytes body(1 + sizeof input.digest_nid);
    body[0] = static_cast<std::uint8_t>(input.scheme);
    std::memcpy(&body[1], &input.digest_nid, sizeof input.digest_nid);
    body.insert(body.end(), input.data.begin(), input.data.end());
    write_frame(child_->stdin_fd(), kSign, body);
    return read_result(child_->stdout_fd());
  }

 private:
  // Shared with KeyProcess, because OpenSSL may hold on to the key for longer than we can see.
  std::shared_ptr<ChildProcess> child_;
};

Bytes sign_request(const pkcs11::SigningKey& key, const Bytes& body) {
  pkcs11::SignatureInput input;
  if (body.size() < 1 + sizeof input.digest_nid || body[0] > 3) {
    throw Error(ErrorCode::internal, "the key process was asked something that it does not understand",
                "report this");
  }
  input.scheme = static_cast<pkcs11::SignatureScheme>(body[0]);
  std::memcpy(&input.digest_nid, &body[1], sizeof input.digest_nid);
  input.data.assign(body.begin() + 1 + sizeof input.digest_nid, body.end());
  return key.sign(input);
}

// The child's side: opens the key, then signs what comes in on stdin until it ends.
int run_key_process(const Settings& settings) {
  try {
    pkcs11::SigningKey key = pkcs11::SigningKey::open(settings.station_token, settings.station_key_id);
    if (!write_frame(STDOUT_FILENO, kResult, key.public_key().spki())) return 0;
    while (std::optional<Frame> request = read_frame(STDIN_FILENO, steady_clock::time_point::max())) {
      try {
        if (!write_frame(STDOUT_FILENO, kResult, sign_request(key, request->body))) return 0;
      } catch (const Error& error) {
        if (!write_frame(STDOUT_FILENO, kFailure, encode_error(error))) return 0;
      }
    }
  } catch (const Error& error) {
    write_frame(STDOUT_FILENO, kFailure, encode_error(error));
    return exit_code(error.code());
  } catch (const std::exception& error) {
    Error bug(ErrorCode::internal, "the key process failed", "keep this message and report it", error.what());
    write_frame(STDOUT_FILENO, kFailure, encode_error(bug));
    return exit_code(bug.code());
  }
  return 0;
}

}  // namespace

KeyProcess::KeyProcess(const Settings& settings)
    : child_(std::make_shared<ChildProcess>([&] { return run_key_process(settings); })) {
  // The child has its PIN's variable now; no other child shall.
  pkcs11::forget_pin_variable(settings.station_token.uri);
}

void KeyProcess::wait_until_ready(const Certificate& certificate) {
  if (evp_) return;
  if (failure_) throw Error(*failure_);
  try {
    open(certificate);
  } catch (const Error& error) {
    failure_ = error;
    throw;
  }
}

void KeyProcess::open(const Certificate& certificate) {
  PublicKey key = PublicKey::from_spki(read_result(child_->stdout_fd()));
  if (!(key == certificate.public_key())) {
    throw Error(ErrorCode::configuration,
                "the station's certificate is for another key than the one in its token",
                "enroll the station again with the certificate for station.csr");
  }
  evp_ = pkcs11::make_signing_evp(key, std::make_shared<RemoteSigner>(child_));
}

}  // namespace fleetroot::station
