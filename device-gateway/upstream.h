// The service behind the gateway: requests go on to it with the device's ID in a header, over a few kept
// connections. Any thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "device-gateway/refusal.h"
#include "lib/http/client.h"
#include "lib/http/server.h"
#include "lib/x509/device_id.h"

namespace fleetroot::gateway {

// The headers that say who asks. Whatever a client sends under X-Fleetroot-… is dropped, and so is every name
// that a service might take for one: with anything but letters, digits and hyphens in it.
inline constexpr const char* kDeviceIdHeader = "X-Fleetroot-Device-Id";
inline constexpr const char* kEnvironmentHeader = "X-Fleetroot-Environment";

// Hears of what the service was not asked, or did not answer, before the device does. Any thread.
using UpstreamRefusal = std::function<void(Refusal refusal, const std::string& address,
                                           const std::string& device, const std::string& detail)>;

class Upstream {
 public:
  Upstream(const http::Url& url, UpstreamRefusal on_refusal);
  Upstream(const Upstream&) = delete;
  Upstream& operator=(const Upstream&) = delete;
  ~Upstream();

  // Answered on another thread; 502 if the service does not answer, 503 if too many requests wait, or too
  // many of this device's. A request that may not be sent twice is not.
  void forward(const http::Request& request, const DeviceId& device, const std::string& environment,
               http::Reply reply);

 private:
  struct Errand {
    std::string device;
    std::string address;  // the device's
    http::Outgoing request;
    http::Reply reply;
  };
  void run(http::Client& client);
  http::Response ask(http::Client& client, const Errand& errand) const;

  const UpstreamRefusal on_refusal_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Errand> errands_;
  std::map<std::string, int> open_;  // how many of each device's wait or run
  std::list<http::Client> clients_;
  bool is_stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace fleetroot::gateway
