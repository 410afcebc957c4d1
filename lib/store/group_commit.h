// One database session for many tasks: what several of them want to change is committed together, one durable
// write for all. Each learns of its own change alone.
#pragma once

#include <algorithm>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "lib/base/task.h"
#include "lib/store/database.h"

namespace fleetroot {

// Any thread. Refers to the database, which nobody else may use meanwhile.
class GroupCommit {
  struct Change {
    const std::function<void()>& run;
    std::coroutine_handle<> task;
    std::exception_ptr error{};
  };
  using Group = std::vector<Change*>;
  // Whose tasks stand still until all of them do.
  struct Runner : TaskRunner {
    Group waiting{};
  };

 public:
  // What change() is awaited by.
  class Durable {
   public:
    Durable(GroupCommit& group, const std::function<void()>& run) : group_(group), change_{run, nullptr} {}
    bool await_ready() const noexcept { return false; }
    template <typename Promise>
    bool await_suspend(std::coroutine_handle<Promise> task) {
      auto* runner = static_cast<Runner*>(task.promise().runner);
      if (runner == nullptr) {
        group_.commit({&change_});
        return false;
      }
      change_.task = task;
      runner->waiting.push_back(&change_);
      return true;
    }
    void await_resume() const {
      if (change_.error) std::rethrow_exception(change_.error);
    }

   private:
    GroupCommit& group_;
    Change change_;
  };

  explicit GroupCommit(Database& database) : database_(database) {}

  // For a task: co_await it, and what `change` did is durable. It was run alone in a write transaction, on
  // some thread. What it throws undoes it, and nothing else, and is thrown here. It may be run once more,
  // when what it did the first time has been undone. Error as the database says if it could not be committed;
  // then nothing of it is there.
  Durable change(const std::function<void()>& change) { return {*this, change}; }

  template <typename Value>
  struct Job {
    Task<Value> task;
    std::function<void(Task<Value>&)> when_ended;
  };

  // Runs tasks to their ends, here: each until it wants to change something; when none can go on, what they
  // want is committed together. Before each time `more` may add some, so that those which begin share their
  // durable write with those that are further on; it is told when nobody is left, and ends it then by adding
  // none.
  template <typename Value>
  void run(const std::function<std::vector<Job<Value>>(bool is_idle)>& more) {
    Runner runner;
    std::vector<Job<Value>> running;
    for (;;) {
      std::vector<Job<Value>> added = more(running.empty());
      if (added.empty() && running.empty()) return;
      for (Job<Value>& job : added) {
        job.task.start(&runner);
        running.push_back(std::move(job));
      }
      if (!runner.waiting.empty()) go_on(std::exchange(runner.waiting, {}));
      std::erase_if(running, [](Job<Value>& job) {
        if (!job.task.has_ended()) return false;
        job.when_ended(job.task);
        return true;
      });
    }
  }

  // The same on several threads, each with tasks of its own; returns when all have ended. `more` is called on
  // all of them.
  template <typename Value>
  void run_on(unsigned threads, const std::function<std::vector<Job<Value>>(bool is_idle)>& more) {
    database_.expect_many_changes();
    std::vector<std::jthread> pool;
    for (unsigned i = 0; i < threads; ++i) pool.emplace_back([&] { run(more); });
  }
  // For tasks that compute, and now and then wait for the disk: one a core, and two on one core.
  static unsigned threads_to_compute() { return std::max(2U, std::thread::hardware_concurrency()); }

  // Runs `body` here, alone with the database and outside of a transaction: to look, or for a transaction of
  // its own.
  void alone(const std::function<void()>& body);

 private:
  void go_on(const Group& group) {
    commit(group);
    for (Change* change : group) change->task.resume();
  }
  void commit(const Group& group);
  bool commit_together(const Group& group);
  void commit_alone(Change& change);

  Database& database_;
  std::mutex turn_;  // whoever uses the database
};

}  // namespace fleetroot
