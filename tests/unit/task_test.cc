// Coroutines that wait for each other.
#include "lib/base/task.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace fleetroot {
namespace {

Task<int> number(int value) {
  if (value < 0) throw std::out_of_range("below zero");
  co_return value;
}

Task<std::string> sum(int first, int second) {
  int left = co_await number(first);
  int right = co_await number(second);
  co_return std::to_string(left + right);
}

// Stands still until somebody resumes it, under whoever runs the task that awaits it.
struct Standstill {
  struct Runner : TaskRunner {
    std::coroutine_handle<> task = nullptr;
  };
  bool await_ready() const noexcept { return false; }
  template <typename Promise>
  void await_suspend(std::coroutine_handle<Promise> task) const {
    static_cast<Runner*>(task.promise().runner)->task = task;
  }
  void await_resume() const noexcept {}
};

Task<int> inner(std::vector<int>& steps) {
  steps.push_back(1);
  co_await Standstill();
  steps.push_back(2);
  co_return 5;
}

Task<int> outer(std::vector<int>& steps) {
  int result = co_await inner(steps);
  steps.push_back(3);
  co_return result;
}

TEST(TaskTest, ReturnsWhatThoseReturnThatItWaitsFor) {
  EXPECT_EQ(run_alone(sum(2, 3)), "5");
}

TEST(TaskTest, ThrowsWhatTheyThrow) {
  EXPECT_THROW(run_alone(sum(1, -1)), std::out_of_range);
}

TEST(TaskTest, StandsStillInTheMiddleAndGoesOnToItsEnd) {
  std::vector<int> steps;
  Standstill::Runner runner;
  Task<int> task = outer(steps);
  EXPECT_EQ(steps.size(), 0U) << "it begins when it is started";
  task.start(&runner);
  EXPECT_EQ(steps, (std::vector<int>{1}));
  runner.task.resume();
  EXPECT_EQ(steps, (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(task.take(), 5);
}

TEST(TaskTest, MayBeDroppedBeforeItBeginsAndInTheMiddle) {
  std::vector<int> steps;
  { Task<int> never_begun = outer(steps); }
  Standstill::Runner runner;
  {
    Task<int> task = outer(steps);
    task.start(&runner);
  }
  EXPECT_EQ(steps, (std::vector<int>{1}));
}

}  // namespace
}  // namespace fleetroot
