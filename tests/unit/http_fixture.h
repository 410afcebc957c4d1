// A server on this machine, a stranger who speaks to it by hand, and one who answers so.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

#include "lib/base/process.h"
#include "lib/http/client.h"
#include "lib/http/server.h"
#include "tests/expect_error.h"

namespace fleetroot::http {

inline std::chrono::steady_clock::time_point soon() {
  return std::chrono::steady_clock::now() + std::chrono::seconds(60);
}

inline std::string body_of(const Response& response) {
  return std::string(as_text(response.body));
}

// Answers with what it was asked.
inline void echo(const Request& request, Reply reply) {
  std::string subject = request.peer.certificate ? request.peer.certificate->common_name().value_or("?") : "";
  reply(Response::text(200, request.method + " " + request.path + "?" + request.query + " " +
                                std::string(as_text(request.body)) + " " + subject));
}

// A stranger who speaks to the socket by hand.
class RawClient {
 public:
  explicit RawClient(const std::string& address, const char* from = nullptr)
      : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (from != nullptr) {
      sockaddr_in own = to_sockaddr(from, 0);
      EXPECT_EQ(bind(fd_.get(), reinterpret_cast<sockaddr*>(&own), sizeof own), 0);
    }
    std::size_t colon = address.rfind(':');
    sockaddr_in to = to_sockaddr(address.substr(0, colon), std::stoi(address.substr(colon + 1)));
    EXPECT_EQ(connect(fd_.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0) << strerror(errno);
  }
  bool send(std::string_view text) { return write_fully(fd_.get(), as_bytes(text)); }
  // Everything up to the end of the connection.
  std::string read_all() {
    std::string text;
    char buffer[4096];
    for (ssize_t got = 0; (got = read(fd_.get(), buffer, sizeof buffer)) > 0;) {
      text.append(buffer, static_cast<std::size_t>(got));
    }
    return text;
  }
  // Up to and with `end`.
  std::string read_until(std::string_view end) {
    std::string text;
    char c = 0;
    while (!text.ends_with(end) && read(fd_.get(), &c, 1) == 1) text.push_back(c);
    return text;
  }

 private:
  static sockaddr_in to_sockaddr(const std::string& host, int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    inet_pton(AF_INET, host.c_str(), &address.sin_addr);
    return address;
  }
  FileDescriptor fd_;
};

// A stranger who says this to the first that comes, whatever he asks, and waits for him to leave.
class RawServer {
 public:
  explicit RawServer(std::string words) : words_(std::move(words)) {}
  Url url() const { return Url::parse("http://" + listener_.address()); }

 private:
  void serve() {
    FileDescriptor client(accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    write_fully(client.get(), as_bytes(words_));
    char waste[4096];
    while (read(client.get(), waste, sizeof waste) > 0) {
    }
  }
  const std::string words_;
  Listener listener_ = Listener::bind("127.0.0.1:0");
  std::jthread thread_{[this] { serve(); }};
};

// What the server told of, from its own threads.
class Troubles {
 public:
  void push(Trouble trouble) {
    std::lock_guard lock(mutex_);
    troubles_.push_back(trouble);
    changed_.notify_all();
  }
  Trouble pop() {
    std::unique_lock lock(mutex_);
    bool came = changed_.wait_for(lock, std::chrono::seconds(60), [&] { return !troubles_.empty(); });
    EXPECT_TRUE(came) << "nobody was told";
    if (!came) return Trouble::bad_request;
    Trouble trouble = troubles_.front();
    troubles_.pop_front();
    return trouble;
  }
  bool is_empty() {
    std::lock_guard lock(mutex_);
    return troubles_.empty();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Trouble> troubles_;
};

class HttpServer : public testing::Test {
 protected:
  HttpServer() { harden_process(); }

  Server& start(Limits limits = {}, Handler handler = echo, std::optional<ServerTls> tls = {}) {
    std::vector<Listener> listeners;
    listeners.push_back(Listener::bind("127.0.0.1:0"));
    server_.emplace(ServerSettings{.listeners = std::move(listeners),
                                   .tls = std::move(tls),
                                   .limits = limits,
                                   .on_trouble = [this](const Peer&, Trouble trouble,
                                                        const std::string&) { troubles_.push(trouble); }},
                    std::move(handler));
    return *server_;
  }
  const std::string& address() const { return server_->addresses().front(); }
  Client client() const { return {Url::parse("http://" + address()), std::nullopt}; }
  std::string get(const std::string& path) const {
    return body_of(client().exchange({.path = path}, soon()));
  }
  // False if somebody is still there after a while.
  static bool all_have_gone(const Server& server) {
    auto deadline = soon();
    while (server.connection_count() > 0 && std::chrono::steady_clock::now() < deadline)
      std::this_thread::yield();
    return server.connection_count() == 0;
  }
  std::string ask(std::string_view text) const {
    RawClient raw(address());
    raw.send(text);
    return raw.read_all();
  }

  Troubles troubles_;
  std::optional<Server> server_;
};

}  // namespace fleetroot::http
