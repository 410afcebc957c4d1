#include "factory-ca/work_queue.h"

#include "factory-ca/failures.h"

namespace fleetroot::ca {

WorkQueue::WorkQueue(unsigned threads) {
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

WorkQueue::~WorkQueue() {
  {
    std::lock_guard lock(mutex_);
    is_ending_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkQueue::add(Work work) {
  std::lock_guard lock(mutex_);
  waiting_.push_back(std::move(work));
  changed_.notify_one();
}

void WorkQueue::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return is_ending_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    Work work = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    try {
      work();
    } catch (const std::exception& bug) {
      tell_failure({ErrorCode::internal, "the front failed in a way that it does not know", "report this",
                    bug.what()});
    }
    work = nullptr;  // what it holds may answer as it goes
    lock.lock();
  }
}

}  // namespace fleetroot::ca
