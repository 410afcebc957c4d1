// One database session for many threads. What several of them want to change at the same time is committed
// together: one durable write for all. Each learns of its own change alone.
#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <semaphore>
#include <vector>

#include "lib/store/database.h"

namespace fleetroot {

// Any thread. Refers to the database, which nobody else may use meanwhile.
class GroupCommit {
 public:
  // Says that its owner will have something to change soon, for as long as it lives: while there are several,
  // a group waits a moment for others to join. Who is alone never waits.
  class Announcement {
   public:
    explicit Announcement(GroupCommit& group) : group_(group) { ++group_.announced_; }
    ~Announcement() { --group_.announced_; }
    Announcement(const Announcement&) = delete;
    Announcement& operator=(const Announcement&) = delete;

   private:
    GroupCommit& group_;
  };

  explicit GroupCommit(Database& database) : database_(database) {}

  // Runs `change` alone in a write transaction, on some thread, and returns when what it did is durable. What
  // it throws undoes it, and nothing else, and is thrown here. It may be run once more, when what it did the
  // first time has been undone. Error as the database says if the group could not be committed; then nothing
  // of it is there.
  void run(const std::function<void()>& change);

  // Runs `body` here, alone with the database and outside of a transaction: to look, or for a transaction of
  // its own.
  void alone(const std::function<void()>& body);

 private:
  struct Change {
    explicit Change(const std::function<void()>& change) : run(change) {}
    const std::function<void()>& run;
    std::exception_ptr error{};
    bool is_leader = false;         // its thread commits for all that wait
    std::binary_semaphore wake{0};  // it leads, or is done
  };
  // Shared, because whoever is woken may be gone before the one who wakes him.
  using Group = std::vector<std::shared_ptr<Change>>;

  void lead();
  bool is_gathered() const;
  void commit(const Group& group);
  bool commit_together(const Group& group);
  void commit_alone(Change& change);

  Database& database_;
  std::atomic<std::size_t> announced_ = 0;
  std::mutex turn_;   // whoever uses the database
  std::mutex mutex_;  // guards what follows, and who leads
  std::condition_variable gathered_;
  Group waiting_;
  bool has_leader_ = false;
};

}  // namespace fleetroot
