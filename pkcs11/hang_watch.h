// A PKCS#11 module may hang for ever in any call, and nothing inside the process can stop it. A process that
// serves many ends instead, and is started again.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <list>
#include <mutex>
#include <thread>

namespace fleetroot::pkcs11 {

// Owns one thread, once it was started. Any thread.
class HangWatch {
 public:
  // Once. `bark` runs on the watch's thread when a call has not come back for so long, and must end the
  // process.
  void start(std::chrono::milliseconds limit, std::function<void()> bark);

  // One call, or a few, on the module: for as long as it lives.
  class Call {
   public:
    explicit Call(HangWatch& watch);
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call();

   private:
    HangWatch& watch_;
    std::list<std::chrono::steady_clock::time_point>::iterator begun_;
  };

 private:
  void watch(const std::stop_token& stop, std::chrono::milliseconds limit, const std::function<void()>& bark);

  std::mutex mutex_;  // guards what follows
  std::condition_variable_any stopped_;
  std::list<std::chrono::steady_clock::time_point> begun_;  // of the calls that are under way, in their order
  std::jthread thread_;
};

}  // namespace fleetroot::pkcs11
