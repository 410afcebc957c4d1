#include "lib/store/group_commit.h"

namespace fleetroot {

void GroupCommit::alone(const std::function<void()>& body) {
  std::lock_guard turn(turn_);
  body();
}

void GroupCommit::commit(const Group& group) {
  std::lock_guard turn(turn_);
  if (commit_together(group)) return;
  for (Change* change : group) commit_alone(*change);
}

// False if one was refused after it had changed something: then nothing of any is there. A savepoint for each
// would undo it alone, but SQLite copies every page that is changed after one.
bool GroupCommit::commit_together(const Group& group) {
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
    // Theirs too that were refused: what they were refused for may be a change that is not there now.
    for (Change* change : group) change->error = std::current_exception();
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
