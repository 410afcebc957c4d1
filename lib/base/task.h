// A coroutine that somebody waits for: straight code that stands still where it must, while its thread does
// something else. A task runs on whatever thread resumes it, on one at a time.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

namespace fleetroot {

// Whom a task and those that it waits for run under, if anybody; what they stand still for may look at it.
class TaskRunner {
 public:
  TaskRunner() = default;
  TaskRunner(const TaskRunner&) = delete;
  TaskRunner& operator=(const TaskRunner&) = delete;

 protected:
  ~TaskRunner() = default;
};

struct TaskPromise {
  // Whoever waits goes on when the task has ended.
  struct AtEnd {
    bool await_ready() const noexcept { return false; }
    template <typename Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> ended) const noexcept {
      return ended.promise().waiting;
    }
    void await_resume() const noexcept {}
  };

  std::suspend_always initial_suspend() const noexcept { return {}; }
  AtEnd final_suspend() const noexcept { return {}; }
  void unhandled_exception() { failure = std::current_exception(); }
  void throw_failure() const {
    if (failure) std::rethrow_exception(failure);
  }

  std::coroutine_handle<> waiting = std::noop_coroutine();
  TaskRunner* runner = nullptr;
  std::exception_ptr failure{};
};

// Owns the coroutine, whose parameters that are references must live as long. It begins when it is awaited,
// or started.
template <typename Value>
class [[nodiscard]] Task {
 public:
  struct promise_type : TaskPromise {
    Task get_return_object() { return Task(Handle::from_promise(*this)); }
    void return_value(Value returned) { value.emplace(std::move(returned)); }
    Value take() {
      throw_failure();
      return *std::move(value);
    }
    std::optional<Value> value{};
  };
  using Handle = std::coroutine_handle<promise_type>;

  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }

  // To its end, or to where it stands still.
  void start(TaskRunner* runner) {
    handle_.promise().runner = runner;
    handle_.resume();
  }
  bool has_ended() const { return handle_.done(); }
  // Once it has: what it returned or threw.
  Value take() { return handle_.promise().take(); }

  // co_await, in another task.
  bool await_ready() const noexcept { return false; }
  template <typename Promise>
  Handle await_suspend(std::coroutine_handle<Promise> waiting) noexcept {
    handle_.promise().waiting = waiting;
    handle_.promise().runner = waiting.promise().runner;
    return handle_;
  }
  Value await_resume() { return take(); }

 private:
  explicit Task(Handle handle) : handle_(handle) {}
  Handle handle_;
};

// A task that stands still for nothing when nobody runs it.
template <typename Value>
Value run_alone(Task<Value> task) {
  task.start(nullptr);
  return task.take();
}

}  // namespace fleetroot
