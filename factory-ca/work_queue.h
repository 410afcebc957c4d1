// Threads that do what is waiting, in its order: for the front, whose connections' threads must not wait for
// the signer, and for the requests of a bundle.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace fleetroot::ca {

class WorkQueue {
 public:
  using Work = std::function<void()>;
  // For work that computes, and now and then waits for the disk: one a core, and two on one core.
  static unsigned to_compute() { return std::max(2U, std::thread::hardware_concurrency()); }

  explicit WorkQueue(unsigned threads);
  // Does what is waiting first.
  ~WorkQueue();
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  void add(Work work);

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> waiting_;
  bool is_ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace fleetroot::ca
