#include "tool/device_token.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include "pkcs11/softhsm.h"
#include "tool/journal.h"

namespace fleetroot::station {
namespace {

const std::string& module_path_of(const pkcs11::Uri& uri) {
  if (!uri.module_path) {
    throw Error(ErrorCode::usage, "the token URI names no PKCS#11 module",
                "add ?module-path=/path/to/module.so to --token");
  }
  return *uri.module_path;
}

std::vector<pkcs11::TokenObject> certificates_under(const pkcs11::Session& session,
                                                    const pkcs11::KeyName& name) {
  std::vector<pkcs11::TokenObject> objects = pkcs11::inventory(session);
  std::erase_if(objects, [&](const pkcs11::TokenObject& object) {
    return object.identity.object_class != pkcs11::ObjectClass::certificate ||
           object.identity.id_hex != name.id.hex();
  });
  return objects;
}

// What a kill left unfinished is for none.
bool is_for(const PublicKey& key, const Bytes& certificate) {
  try {
    return Certificate::from_der(certificate).public_key() == key;
  } catch (const Error&) {
    return false;
  }
}

// A name that one process of this machine can have at a time, whoever runs it: an abstract Unix socket's
// (unix(7)), which goes with the process. Nothing if somebody else has it.
std::optional<FileDescriptor> try_take_name(const std::string& name) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  name.copy(address.sun_path + 1, sizeof address.sun_path - 1);
  auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (fd && bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0) return fd;
  if (fd && errno == EADDRINUSE) return std::nullopt;
  throw system_error(ErrorCode::io, "cannot keep this machine's other stations off the token",
                     "allow this program Unix sockets, then run the same command again", errno);
}

}  // namespace

pkcs11::KeyName chain_name(const Certificate& certificate) {
  return {pkcs11::KeyId::parse(certificate.subject_key_identifier()), "fleetroot-issuing-ca"};
}

DeviceToken::DeviceToken(const pkcs11::Uri& uri, const pkcs11::ModuleOptions& module,
                         const std::optional<DeviceId>& device_id)
    : module_(module_path_of(uri), module),
      may_lock_(!pkcs11::is_softhsm(module_path_of(uri))),
      info_(module_.find_token(uri)),
      identity_(token_identity(info_, device_id)),
      names_for_pins_(names_for_pins(info_, device_id)) {}

void DeviceToken::lock(const std::filesystem::path& lock_directory) {
  lock_directory_ = lock_directory;
  std::filesystem::path file = lock_file_of(identity_);
  lock_ = try_lock_file(file);
  if (is_numbered(info_)) machine_lock_ = try_take_name("fleetroot-station/" + file.filename().string());
  if (!lock_ || (is_numbered(info_) && !machine_lock_)) {
    throw Error(ErrorCode::token_busy,
                fmt::format("another station process works on the token {}", info_.describe()),
                "wait until it has finished, then run the same command again");
  }
}

void DeviceToken::open_session(const pkcs11::Pin& pin) {
  session_ = std::make_unique<pkcs11::Session>(module_, info_);
  session_->log_in(pin);
}

std::filesystem::path DeviceToken::lock_file_of(const std::string& name) const {
  return lock_directory_ / sha256_hex(as_bytes(name)).substr(0, 32);
}

void DeviceToken::open_session(const pkcs11::Pin& pin, Journal& journal, bool retry_pin) {
  // Those that count together log in one after the other.
  std::optional<FileDescriptor> turn;
  if (!is_numbered(info_)) turn = lock_file(lock_file_of(names_for_pins_.front()));
  unsigned wrong_pins = journal.wrong_pins(names_for_pins_);
  if (wrong_pins + 1 >= profile().pin_tries && !retry_pin) {
    throw Error(
        ErrorCode::pin_locked,
        fmt::format(
            "the PIN for the token {}{} was wrong {} times (a login that was cut off counts), and its "
            "last try is never spent here",
            info_.describe(), is_numbered(info_) ? "" : ", or for one that cannot be told from it,",
            wrong_pins),
        "correct the PIN source, log in once with the token vendor's tool, then run provision or verify with "
        "--retry-pin for this device");
  }
  session_ = std::make_unique<pkcs11::Session>(module_, info_);
  if (may_lock_) journal.count_wrong_pin(names_for_pins_);
  try {
    session_->log_in(pin);
  } catch (const Error& error) {
    if (!may_lock_ && error.code() == ErrorCode::pin_wrong) journal.count_wrong_pin(names_for_pins_);
    if (may_lock_ && error.code() == ErrorCode::pin_locked) journal.take_wrong_pin_back(names_for_pins_);
    throw;  // after any other answer the token may have judged the PIN: the try stays counted
  }
  // Of tokens that cannot be told apart, only a person knows that it was this one.
  if (is_numbered(info_) || retry_pin) return journal.clear_wrong_pins(names_for_pins_);
  if (may_lock_) journal.take_wrong_pin_back(names_for_pins_);
}

void DeviceToken::renew_session(const pkcs11::Pin& pin, Journal& journal, bool retry_pin) {
  try {
    session_ = std::make_unique<pkcs11::Session>(module_, info_);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::token_busy) throw;
    session_.reset();
    open_session(pin, journal, retry_pin);
  }
}

std::optional<pkcs11::KeyPair> DeviceToken::usable_pair(const pkcs11::KeySpec& spec) {
  std::optional<pkcs11::KeyPair> pair;
  try {
    pair = pkcs11::find_key_pair(*session_, spec.key.id);
    if (!pair || pair->public_key.algorithm() != spec.algorithm) return std::nullopt;
    pkcs11::refuse_unless_sound(*session_, *pair);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::token_untrusted) throw;
    return std::nullopt;
  }
  pkcs11::prove_pair(*session_, *pair);
  return pair;
}

bool DeviceToken::holds_certificate_for(const PublicKey& key, const pkcs11::KeyName& name) const {
  std::vector<Bytes> stored = pkcs11::read_certificates(*session_, name.id);
  return std::any_of(stored.begin(), stored.end(), [&](const Bytes& der) { return is_for(key, der); });
}

void DeviceToken::put_certificate(const Certificate& certificate, const pkcs11::KeyName& name) {
  std::string digest = certificate.fingerprint();
  std::vector<pkcs11::TokenObject> present = certificates_under(*session_, name);
  auto same = std::find_if(present.begin(), present.end(), [&](const pkcs11::TokenObject& object) {
    return object.identity.digest == digest;
  });
  if (same == present.end()) {
    pkcs11::store_certificate(*session_, certificate, name);
  } else {
    present.erase(same);
  }
  destroy(present);
}

bool DeviceToken::holds_alone(const Certificate& certificate, const pkcs11::KeyName& name) const {
  std::vector<Bytes> stored = pkcs11::read_certificates(*session_, name.id);
  return stored.size() == 1 && stored.front() == certificate.der();
}

void DeviceToken::refuse_unless_stored(const Certificate& certificate, const pkcs11::KeyName& name) const {
  if (!holds_alone(certificate, name)) {
    throw Error(
        ErrorCode::token_full,
        fmt::format("the token {} did not keep the certificate that was written to it", info_.describe()),
        "check that the token has room, then run the same command again: it resumes");
  }
}

void DeviceToken::destroy(const std::vector<pkcs11::TokenObject>& objects) const {
  for (const pkcs11::TokenObject& object : objects) session_->destroy(object.handle);
}

}  // namespace fleetroot::station
