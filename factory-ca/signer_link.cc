#include "factory-ca/signer_link.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <thread>

#include "lib/base/frame.h"
#include "lib/cmp/responder.h"

namespace fleetroot::ca {
namespace {

using std::chrono::steady_clock;

constexpr int kBacklog = 256;
constexpr int kPauseMilliseconds = 100;
constexpr std::uint8_t kResult = 0;
constexpr std::uint8_t kRefusal = 1;

Error not_understood() {
  return {ErrorCode::internal, "front and signer do not understand each other", "report this"};
}

// A Unix socket's name has 107 bytes, a home's path may have more: it is named through its directory.
class SocketName {
 public:
  explicit SocketName(const std::filesystem::path& path)
      : directory_(open(path.parent_path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {
    address.sun_family = AF_UNIX;
    std::string name = fmt::format("/proc/self/fd/{}/{}", directory_.get(), path.filename().string());
    std::memcpy(address.sun_path, name.c_str(), std::min(name.size(), sizeof address.sun_path - 1));
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }

  sockaddr_un address{};

 private:
  FileDescriptor directory_;
};

void append(Bytes& bytes, BytesView field) {
  auto size = static_cast<std::uint32_t>(field.size());
  const auto* begin = reinterpret_cast<const std::uint8_t*>(&size);
  bytes.insert(bytes.end(), begin, begin + sizeof size);
  bytes.insert(bytes.end(), field.begin(), field.end());
}

Bytes take_field(BytesView& rest) {
  std::uint32_t size = 0;
  if (rest.size() < sizeof size) throw not_understood();
  std::memcpy(&size, rest.data(), sizeof size);
  rest = rest.subspan(sizeof size);
  if (size > rest.size()) throw not_understood();
  Bytes field(rest.begin(), rest.begin() + size);
  rest = rest.subspan(size);
  return field;
}

Bytes encode(const Inquiry& inquiry) {
  Bytes body;
  append(body, inquiry.order ? as_bytes(inquiry.order->text()) : BytesView());
  append(body, inquiry.certificate);
  append(body, inquiry.message);
  return body;
}

Inquiry decode(const Frame& frame) {
  auto question = static_cast<Question>(frame.tag);
  if (question < Question::answer || question > Question::front) throw not_understood();
  BytesView rest = frame.body;
  Bytes order = take_field(rest);
  Inquiry inquiry{.question = question};
  if (!order.empty()) inquiry.order = OrderId::parse(as_text(order));
  inquiry.certificate = take_field(rest);
  inquiry.message = take_field(rest);
  if (!rest.empty()) throw not_understood();
  return inquiry;
}

bool refuse(int fd, const Error& error) {
  return write_frame(fd, kRefusal, as_bytes(cmp::encode_refusal(error)));
}

void answer_connection(int fd, const Answer& answer) {
  while (std::optional<Frame> frame = read_frame(fd, steady_clock::time_point::max())) {
    bool is_taken = false;
    try {
      is_taken = write_frame(fd, kResult, answer(decode(*frame)));
    } catch (const Error& error) {
      is_taken = refuse(fd, error);
    } catch (const std::exception& error) {
      // With its words, which are for the log of the front: they go to nobody outside.
      is_taken = refuse(fd, {ErrorCode::internal, "the CA failed in a way that it does not know",
                             "report this", error.what()});
    }
    if (!is_taken) return;
  }
}

// A thread for each connection of the front, for as long as that lasts. The destructor waits for all of them:
// the front goes first, and with it the other ends.
class Conversations {
 public:
  Conversations() = default;
  Conversations(const Conversations&) = delete;
  Conversations& operator=(const Conversations&) = delete;
  ~Conversations() {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return count_ == 0; });
  }

  void begin(FileDescriptor connection, const Answer& answer) {
    auto body = [this, fd = std::make_shared<FileDescriptor>(std::move(connection)), &answer]() mutable {
      answer_connection(fd->get(), answer);
      fd.reset();
      std::lock_guard lock(mutex_);
      --count_;
      ended_.notify_all();
    };
    std::lock_guard lock(mutex_);
    std::thread(std::move(body)).detach();
    ++count_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  std::size_t count_ = 0;
};

bool is_same_user(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

}  // namespace

FileDescriptor listen_for_front(const std::filesystem::path& socket) {
  FileDescriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  SocketName name(socket);
  unlink(socket.c_str());
  mode_t before = umask(0177);
  bool good = fd && bind(fd.get(), name.get(), sizeof name.address) == 0 && listen(fd.get(), kBacklog) == 0;
  int error = errno;
  umask(before);
  if (!good) {
    throw system_error(ErrorCode::cannot_create, fmt::format("cannot make the socket {}", socket.string()),
                       "check that the home may be written to", error);
  }
  return fd;
}

void answer_front(int listener, int lifeline, const Answer& answer) {
  Conversations conversations;
  for (;;) {
    pollfd events[2] = {{lifeline, POLLIN, 0}, {listener, POLLIN, 0}};
    if (poll(events, 2, -1) < 0 && errno != EINTR) break;
    if (events[0].revents != 0) break;
    if (events[1].revents == 0) continue;
    FileDescriptor connection(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection) poll(events, 1, kPauseMilliseconds);  // no file to be had: others must go first
    if (!connection || !is_same_user(connection.get())) continue;
    conversations.begin(std::move(connection), answer);
  }
}

FileDescriptor SignerLink::take() {
  {
    std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      FileDescriptor connection = std::move(idle_.back());
      idle_.pop_back();
      return connection;
    }
  }
  FileDescriptor connection(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  SocketName name(socket_);
  if (!connection || connect(connection.get(), name.get(), sizeof name.address) != 0) {
    throw system_error(ErrorCode::busy, "the CA's signer is not there", "run the same command again", errno);
  }
  return connection;
}

void SignerLink::give_back(FileDescriptor connection) {
  std::lock_guard lock(mutex_);
  idle_.push_back(std::move(connection));
}

Bytes SignerLink::ask(const Inquiry& inquiry, steady_clock::time_point deadline) {
  Bytes body = encode(inquiry);
  for (;;) {
    FileDescriptor connection = take();
    std::optional<Frame> answer;
    if (write_frame(connection.get(), static_cast<std::uint8_t>(inquiry.question), body)) {
      answer = read_frame(connection.get(), deadline);
    }
    if (!answer) {
      // All its connections broke with this one. What it was asked may be asked again: the ledger remembers.
      std::lock_guard lock(mutex_);
      idle_.clear();
      if (steady_clock::now() < deadline) continue;
      throw Error(ErrorCode::busy, "the CA's signer does not answer in time", "run the same command again");
    }
    give_back(std::move(connection));
    if (answer->tag == kResult) return std::move(answer->body);
    throw cmp::decode_refusal(std::string(as_text(answer->body)));
  }
}

}  // namespace fleetroot::ca
