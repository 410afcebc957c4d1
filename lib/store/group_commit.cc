#include "lib/store/group_commit.h"

#include <chrono>
#include <utility>

namespace fleetroot {
namespace {

// So long a group waits for those who are on their way: a few durable writes, which it saves.
constexpr std::chrono::milliseconds kPatience{4};

}  // namespace

// The first who comes commits for all who came while the group before was being committed, and hands on to
// the first who came meanwhile. Nobody wakes up for nothing.
void GroupCommit::run(const std::function<void()>& change) {
  auto own = std::make_shared<Change>(change);
  std::unique_lock lock(mutex_);
  waiting_.push_back(own);
  if (has_leader_) {
    if (is_gathered()) gathered_.notify_one();
    lock.unlock();
    own->wake.acquire();
  } else {
    own->is_leader = has_leader_ = true;
    lock.unlock();
  }
  if (own->is_leader) lead();
  if (own->error) std::rethrow_exception(own->error);
}

void GroupCommit::alone(const std::function<void()>& body) {
  std::lock_guard turn(turn_);
  body();
}

void GroupCommit::lead() {
  std::unique_lock lock(mutex_);
  gathered_.wait_for(lock, kPatience, [&] { return is_gathered(); });
  Group group = std::exchange(waiting_, {});
  lock.unlock();
  commit(group);
  lock.lock();
  std::shared_ptr<Change> next = waiting_.empty() ? nullptr : waiting_.front();
  has_leader_ = next != nullptr;
  if (next) next->is_leader = true;
  lock.unlock();
  if (next) next->wake.release();
  for (const std::shared_ptr<Change>& change : group) change->wake.release();
}

// Half of those who are on their way: while one half is being committed, the other works.
bool GroupCommit::is_gathered() const {
  return 2 * waiting_.size() >= announced_;
}

void GroupCommit::commit(const Group& group) {
  std::lock_guard turn(turn_);
  if (commit_together(group)) return;
  for (const std::shared_ptr<Change>& change : group) commit_alone(*change);
}

// False if one was refused after it had changed something: then nothing of any is there. A savepoint for each
// would undo it alone, but SQLite copies every page that is changed after one.
bool GroupCommit::commit_together(const Group& group) {
  try {
    WriteTransaction transaction(database_);
    for (const std::shared_ptr<Change>& change : group) {
      std::int64_t before = database_.total_changes();
      try {
        change->run();
      } catch (...) {
        change->error = std::current_exception();
        // A disk that is full takes the whole transaction with it: then this is everybody's reason.
        if (!database_.is_in_transaction()) throw;
        if (database_.total_changes() != before) return false;
      }
    }
    transaction.commit();
  } catch (...) {
    // Whose change was refused keeps that as its reason.
    for (const std::shared_ptr<Change>& change : group) {
      if (!change->error) change->error = std::current_exception();
    }
  }
  return true;
}

void GroupCommit::commit_alone(Change& change) {
  change.error = nullptr;
  try {
    WriteTransaction transaction(database_);
    change.run();
    transaction.commit();
  } catch (...) {
    change.error = std::current_exception();
  }
}

}  // namespace fleetroot
