// Threads that do what is waiting, in its order: for the front, whose connections' threads must not wait for
// the signer. What it throws is told on stderr, and ends no thread.
#pragma once

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
