#include "lib/store/group_commit.h"

#include <utility>

#include "lib/base/error.h"

namespace fleetroot {
namespace {

bool undo_one(Database& database) {
  try {
    database.change("ROLLBACK TO one");
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

// The first who comes commits for all who came while the group before was being committed, and hands on to
// the first who came meanwhile. Nobody wakes up for nothing.
void GroupCommit::run(const std::function<void()>& change) {
  Change own{.run = change};
  std::unique_lock lock(mutex_);
  waiting_.push_back(&own);
  if (!has_leader_) own.is_leader = has_leader_ = true;
  own.wake.wait(lock, [&] { return own.is_done || own.is_leader; });
  if (!own.is_done) {
    std::vector<Change*> group = std::exchange(waiting_, {});
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

void GroupCommit::alone(const std::function<void()>& body) {
  std::lock_guard turn(turn_);
  body();
}

void GroupCommit::commit(const std::vector<Change*>& group) {
  std::lock_guard turn(turn_);
  try {
    WriteTransaction transaction(database_);
    for (Change* change : group) {
      database_.change("SAVEPOINT one");
      try {
        change->run();
      } catch (...) {
        change->error = std::current_exception();
        // A disk that is full takes the whole transaction with it: then this is everybody's reason.
        if (!undo_one(database_)) throw;
      }
      database_.change("RELEASE one");
    }
    transaction.commit();
  } catch (...) {
    // Whose change was refused keeps that as its reason.
    for (Change* change : group) {
      if (!change->error) change->error = std::current_exception();
    }
  }
}

}  // namespace fleetroot
