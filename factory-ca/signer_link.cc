#include "factory-ca/signer_link.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "factory-ca/failures.h"
#include "lib/base/frame.h"
#include "lib/cmp/responder.h"

namespace fleetroot::ca {
namespace {

using std::chrono::steady_clock;

constexpr int kBacklog = 256;
constexpr int kPauseMilliseconds = 100;
// Front and signer are one machine: what has begun to come in comes.
constexpr std::chrono::seconds kFramePatience{5};
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
  append(body, inquiry.message);
  append(body, inquiry.peer);
  return body;
}

Inquiry decode(const Frame& frame) {
  auto question = static_cast<Question>(frame.tag);
  if (question < Question::answer || question > Question::front) throw not_understood();
  BytesView rest = frame.body;
  Bytes order = take_field(rest);
  Inquiry inquiry{.question = question};
  if (!order.empty()) inquiry.order = OrderId::parse(as_text(order));
  inquiry.message = take_field(rest);
  inquiry.peer = take_field(rest);
  if (!rest.empty()) throw not_understood();
  return inquiry;
}

void refuse(int fd, const Error& error) {
  write_frame(fd, kRefusal, as_bytes(cmp::encode_refusal(error)));
}

// For poll(2): rounded up, so that it is over then.
int milliseconds_until(steady_clock::time_point time) {
  auto left = std::chrono::ceil<std::chrono::milliseconds>(time - steady_clock::now());
  return static_cast<int>(std::max(left, left.zero()).count());
}

bool is_same_user(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

// A cause stays here: it is said on stderr, and goes to nobody outside.
void send_result(int fd, Task<Bytes>& task) {
  std::optional<Error> failure;
  try {
    write_frame(fd, kResult, task.take());
    return;
  } catch (const Error& error) {
    failure = error;
  } catch (const std::exception& error) {
    failure = Error(ErrorCode::internal, "the CA failed in a way that it does not know", "report this",
                    error.what());
  }
  tell_failure(*failure);
  refuse(fd, *failure);
}

// Where to send the answer. Shared, because the front may be gone meanwhile.
using Connection = std::shared_ptr<FileDescriptor>;

struct Asked {
  Connection connection;
  Inquiry inquiry;
};

// The connections of the front, and what comes in on them. Any thread.
class Desk {
 public:
  Desk(int listener, int lifeline) : listener_(listener), lifeline_(lifeline) {}

  // What is waiting to be answered, up to kTogether. Whoever is idle waits for the first, and gets nothing
  // once the lifeline has ended and the connections too: the front goes first, and with it the other ends.
  std::vector<std::shared_ptr<Asked>> take(bool is_idle) {
    std::vector<std::shared_ptr<Asked>> asked;
    std::unique_lock turn(mutex_, std::defer_lock);
    if (is_idle) {
      turn.lock();
    } else if (!turn.try_lock()) {
      return asked;  // somebody idle waits here
    }
    do {
      if (!is_open_ && connections_.empty()) break;
      std::vector<pollfd> events = look(is_idle ? -1 : 0);
      read_ready(std::span(events).subspan(2), asked);
      if (is_open_ && events[0].revents != 0) is_open_ = false;
      if (is_open_ && events[1].revents != 0) accept();
    } while (is_idle && asked.empty());
    return asked;
  }

 private:
  static constexpr std::size_t kTogether = 16;

  std::vector<pollfd> look(int milliseconds) const {
    std::vector<pollfd> events{{is_open_ ? lifeline_ : -1, POLLIN, 0},
                               {is_open_ ? listener_ : -1, POLLIN, 0}};
    for (const Connection& connection : connections_) events.push_back({connection->get(), POLLIN, 0});
    while (poll(events.data(), events.size(), milliseconds) < 0 && errno == EINTR) {
    }
    return events;
  }

  // Whoever is answered goes to the end of the line; whoever has ended is left out.
  void read_ready(std::span<const pollfd> events, std::vector<std::shared_ptr<Asked>>& asked) {
    std::vector<Connection> line;
    std::vector<Connection> served;
    for (std::size_t i = 0; i < events.size(); ++i) {
      Connection& connection = connections_[i];
      bool is_ready = events[i].revents != 0 && asked.size() < kTogether;
      if (!is_ready) {
        line.push_back(std::move(connection));
      } else if (read(connection, asked)) {
        served.push_back(std::move(connection));
      }
    }
    connections_ = std::move(line);
    std::move(served.begin(), served.end(), std::back_inserter(connections_));
  }

  // False if it has ended.
  static bool read(const Connection& connection, std::vector<std::shared_ptr<Asked>>& asked) {
    std::optional<Frame> frame = read_frame(connection->get(), steady_clock::now() + kFramePatience);
    if (!frame) return false;
    try {
      asked.push_back(std::make_shared<Asked>(Asked{connection, decode(*frame)}));
    } catch (const Error& error) {
      refuse(connection->get(), error);
    }
    return true;
  }

  void accept() {
    FileDescriptor connection(accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC));
    if (connection) {
      if (is_same_user(connection.get()))
        connections_.push_back(std::make_shared<FileDescriptor>(std::move(connection)));
      return;
    }
    pollfd end{lifeline_, POLLIN, 0};
    poll(&end, 1, kPauseMilliseconds);  // no file to be had: others must go first
  }

  const int listener_, lifeline_;
  std::mutex mutex_;
  std::vector<Connection> connections_;
  bool is_open_ = true;
};

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

void answer_front(int listener, int lifeline, Ledger& ledger, const Answer& answer) {
  Desk desk(listener, lifeline);
  auto take_up = [&](bool is_idle) {
    std::vector<GroupCommit::Job<Bytes>> jobs;
    for (std::shared_ptr<Asked>& asked : desk.take(is_idle)) {
      Task<Bytes> task = answer(asked->inquiry);
      auto send = [asked](Task<Bytes>& ended) { send_result(asked->connection->get(), ended); };
      jobs.push_back({std::move(task), send});
    }
    return jobs;
  };
  ledger.run_on<Bytes>(GroupCommit::threads_to_compute(), take_up);
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
  last_sign_ = steady_clock::now();
  idle_.push_back(std::move(connection));
}

// Until the answer begins, the connection breaks, or the deadline.
void SignerLink::wait_for_answer(int fd, steady_clock::time_point deadline) {
  auto asked = steady_clock::now();
  pollfd answer{fd, POLLIN, 0};
  while (poll(&answer, 1, milliseconds_until(std::min(deadline, end_of_patience(asked)))) <= 0 &&
         steady_clock::now() < deadline) {
  }
}

// Until when it may be silent to one who asked then. Tells of it where that is over.
steady_clock::time_point SignerLink::end_of_patience(steady_clock::time_point asked) {
  std::lock_guard lock(mutex_);
  auto now = steady_clock::now();
  if (now >= std::max(asked, last_sign_) + silence_) {
    last_sign_ = now;
    if (when_silent_) when_silent_();
  }
  return std::max(asked, last_sign_) + silence_;
}

Bytes SignerLink::ask(const Inquiry& inquiry, steady_clock::time_point deadline) {
  Bytes body = encode(inquiry);
  for (;;) {
    FileDescriptor connection = take();
    std::optional<Frame> answer;
    if (write_frame(connection.get(), static_cast<std::uint8_t>(inquiry.question), body)) {
      wait_for_answer(connection.get(), deadline);
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
