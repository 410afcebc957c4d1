// Tasks whose changes become durable together.
#include "lib/store/group_commit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/expect_error.h"
#include "tests/scratch_directory.h"

namespace fleetroot {
namespace {

using testing::ElementsAre;

const std::vector<std::string_view> kCounter{
    "CREATE TABLE counter (id INTEGER PRIMARY KEY, value INTEGER NOT NULL);\n"
    "INSERT INTO counter VALUES (1, 0);\n"
    "CREATE TABLE places (counter INTEGER REFERENCES counter (id) DEFERRABLE INITIALLY DEFERRED);\n"};

class GroupCommitTest : public testing::Test {
 protected:
  void add(int value) {
    database_.change("UPDATE counter SET value = value + :value WHERE id = 1", soci::use(value));
  }
  // What is durable.
  int value() {
    Database other(path_, kCounter);
    int value = -1;
    other.row("SELECT value FROM counter WHERE id = 1", soci::into(value));
    return value;
  }

  Task<int> adding(int value) {
    co_await group_.change([&] { add(value); });
    co_return value;
  }
  Task<int> refused_after(int value) {
    co_await group_.change([&] {
      ++runs_;
      if (value != 0) add(value);
      throw Error(ErrorCode::order_full, "full", "wait");
    });
    co_return value;
  }
  // As a full disk does.
  Task<int> losing_the_transaction() {
    co_await group_.change([&] {
      database_.sql() << "ROLLBACK";
      throw Error(ErrorCode::io, "the disk is full", "make room");
    });
    co_return 0;
  }
  // The only place, in a transaction that cannot be committed.
  Task<int> taking_the_place() {
    co_await group_.change([&] {
      int taken = 0;
      database_.row("SELECT COUNT(*) FROM places", soci::into(taken));
      if (taken > 0) throw Error(ErrorCode::order_full, "full", "wait");
      database_.sql() << "INSERT INTO places VALUES (99)";
    });
    co_return 0;
  }
  // Runs them together, and returns them when they have ended.
  std::vector<Task<int>> run(std::vector<Task<int>> tasks) {
    std::vector<std::optional<Task<int>>> ended(tasks.size());
    group_.run<int>([&](bool) {
      std::vector<GroupCommit::Job<int>> jobs;
      for (std::size_t i = 0; i < tasks.size(); ++i) {
        jobs.push_back({std::move(tasks[i]), [&ended, i](Task<int>& task) { ended[i] = std::move(task); }});
      }
      tasks.clear();
      return jobs;
    });
    std::vector<Task<int>> all;
    for (std::optional<Task<int>>& task : ended) all.push_back(*std::move(task));
    return all;
  }
  template <typename... Tasks>
  std::vector<Task<int>> run(Task<int> first, Tasks... others) {
    std::vector<Task<int>> all;
    all.push_back(std::move(first));
    (all.push_back(std::move(others)), ...);
    return run(std::move(all));
  }

  ScratchDirectory directory_;
  std::filesystem::path path_ = directory_ / "ledger.db";
  Database database_{path_, kCounter};
  GroupCommit group_{database_};
  int runs_ = 0;
};

TEST_F(GroupCommitTest, NobodyGoesOnBeforeAllIsDurable) {
  std::vector<int> seen;
  auto watching = [&](int amount) -> Task<int> {
    co_await group_.change([&] {
      seen.push_back(value());
      add(amount);
    });
    seen.push_back(value());
    co_await group_.change([&] { add(amount); });
    co_return value();
  };
  std::vector<Task<int>> tasks;
  for (int amount : {1, 10, 100}) tasks.push_back(watching(amount));
  tasks = run(std::move(tasks));
  EXPECT_THAT(seen, ElementsAre(0, 0, 0, 111, 111, 111)) << "one transaction for the three";
  for (Task<int>& task : tasks) EXPECT_EQ(task.take(), 222);
}

TEST_F(GroupCommitTest, WhoBeginsLaterSharesADurableWriteWithWhoIsFurtherOn) {
  std::vector<int> seen;
  auto twice = [&](int amount) -> Task<int> {
    co_await group_.change([&] { add(amount); });
    co_await group_.change([&] {
      seen.push_back(value());
      add(amount);
    });
    co_return value();
  };
  int round = 0;
  std::vector<int> ended;
  group_.run<int>([&](bool is_idle) {
    std::vector<GroupCommit::Job<int>> jobs;
    EXPECT_EQ(is_idle, round == 0 || round == 3);
    if (++round <= 2) {
      jobs.push_back({twice(round == 1 ? 1 : 10), [&](Task<int>& task) { ended.push_back(task.take()); }});
    }
    return jobs;
  });
  EXPECT_THAT(seen, ElementsAre(1, 12)) << "the second's first change came with the first's second";
  EXPECT_THAT(ended, ElementsAre(12, 22));
}

TEST_F(GroupCommitTest, ATaskAloneWaitsForNobody) {
  EXPECT_EQ(run_alone(adding(3)), 3);
  EXPECT_EQ(value(), 3);
  EXPECT_EQ(code_of([&] { run_alone(refused_after(5)); }), ErrorCode::order_full);
  EXPECT_EQ(value(), 3);
}

TEST_F(GroupCommitTest, ChangesOfManyThreadsAreAllThere) {
  constexpr int kThreads = 8;
  constexpr int kRounds = 25;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kRounds; ++i) run(adding(1), adding(1));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(value(), 2 * kThreads * kRounds);
}

TEST_F(GroupCommitTest, WhatOneChangeThrowsUndoesItAlone) {
  std::vector<Task<int>> tasks = run(adding(1), refused_after(0), adding(2), refused_after(4));
  EXPECT_EQ(value(), 3);
  EXPECT_EQ(tasks[0].take(), 1);
  EXPECT_EQ(code_of([&] { tasks[1].take(); }), ErrorCode::order_full) << "before it changed anything";
  EXPECT_EQ(tasks[2].take(), 2);
  EXPECT_EQ(code_of([&] { tasks[3].take(); }), ErrorCode::order_full) << "after it did";
  EXPECT_GT(runs_, 2) << "the group was run again";
}

TEST_F(GroupCommitTest, NobodyIsToldThatItIsDurableWhenItIsNot) {
  std::vector<Task<int>> tasks = run(adding(1), losing_the_transaction(), adding(2));
  EXPECT_EQ(value(), 0);
  for (Task<int>& task : tasks) EXPECT_EQ(code_of([&] { task.take(); }), ErrorCode::io);
  run(adding(5));
  EXPECT_EQ(value(), 5) << "the next group starts anew";
}

TEST_F(GroupCommitTest, NobodyIsRefusedForWhatIsNotThere) {
  std::vector<Task<int>> tasks = run(taking_the_place(), taking_the_place());
  for (Task<int>& task : tasks) EXPECT_EQ(code_of([&] { task.take(); }), ErrorCode::internal);
}

TEST_F(GroupCommitTest, WhoeverLooksAloneIsInNoTransaction) {
  group_.alone([&] { EXPECT_FALSE(database_.is_in_transaction()); });
}

}  // namespace
}  // namespace fleetroot
