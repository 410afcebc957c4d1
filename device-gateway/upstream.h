// The service behind the gateway: requests go on to it with the device's ID in a header, over a few kept
// connections. Any thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "lib/http/client.h"
#include "lib/http/server.h"

namespace fleetroot::gateway {

// The header that says who asks. Whatever a client sends under X-Fleetroot-… is dropped.
inline constexpr const char* kDeviceIdHeader = "X-Fleetroot-Device-Id";
inline constexpr const char* kEnvironmentHeader = "X-Fleetroot-Environment";

class Upstream {
 public:
  // http://host:port only: it is on this machine, or in a network that is trusted. Error(usage).
  explicit Upstream(const std::string& url);
  Upstream(const Upstream&) = delete;
  Upstream& operator=(const Upstream&) = delete;
  ~Upstream();

  // Answered on another thread; 502 if the service does not answer, 503 if too many requests wait.
  void forward(const http::Request& request, std::vector<http::Header> identity, http::Reply reply);

 private:
  struct Errand {
    http::Outgoing request;
    http::Reply reply;
  };
  void run();

  http::Url url_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Errand> errands_;
  bool is_stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace fleetroot::gateway
