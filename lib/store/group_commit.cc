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
  Change own{.run = change};
  std::unique_lock lock(mutex_);
  waiting_.push_back(&own);
  if (!has_leader_) own.is_leader = has_leader_ = true;
  joined_.notify_one();
  own.wake.wait(lock, [&] { return own.is_done || own.is_leader; });
  if (!own.is_done) {
    std::vector<Change*> group = gather(lock);
    lock.unlock();
    commit(group);
    lock.lock();
    for (Change* each : group) {
      each->is_done = true;
      each->wake.notify_one();
    }
    has_leader_ = !waiting_.empty();
    if (has_leader_) {
      waiting_.front()->is_leader = true;
      waiting_.front()->wake.notify_one();
    }
  }
  if (own.error) std::rethrow_exception(own.error);
}

// Half of those who are on their way: while one half is being committed, the other works.
std::vector<GroupCommit::Change*> GroupCommit::gather(std::unique_lock<std::mutex>& lock) {
  joined_.wait_for(lock, kPatience, [&] { return 2 * waiting_.size() >= announced_; });
  return std::exchange(waiting_, {});
}

void GroupCommit::alone(const std::function<void()>& body) {
  std::lock_guard turn(turn_);
  body();
}

void GroupCommit::commit(const std::vector<Change*>& group) {
  std::lock_guard turn(turn_);
  if (commit_together(group)) return;
  for (Change* change : group) commit_alone(*change);
}

// False if one was refused after it had changed something: then nothing of any is there. A savepoint for each
// would undo it alone, but SQLite copies every page that is changed after one.
bool GroupCommit::commit_together(const std::vector<Change*>& group) {
  try {
    WriteTransaction transaction(database_);
    for (Change* change : group) {
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
    for (Change* change : group) {
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
