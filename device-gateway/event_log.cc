#include "device-gateway/event_log.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>

namespace fleetroot::gateway {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMaximumKept = 4 << 20;
// How often the thread that waits for the reader looks whether the gateway ends.
constexpr milliseconds kInterval{100};
constexpr milliseconds kLastPatience{1000};

bool wait_for_reader(milliseconds patience) {
  pollfd out{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
  return poll(&out, 1, static_cast<int>(patience.count())) > 0;
}

// So much as a pipe takes without waiting, when it takes anything; in whole lines, where they are not longer.
std::string_view piece_of(std::string_view lines) {
  std::string_view piece = lines.substr(0, PIPE_BUF);
  std::size_t end = piece.rfind('\n');
  return end == std::string_view::npos ? piece : piece.substr(0, end + 1);
}

}  // namespace

EventLog::EventLog(const Clock& clock, Metrics& metrics)
    : clock_(clock), metrics_(metrics), thread_([this] { run(); }) {}

EventLog::~EventLog() {
  {
    std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
  const auto end = std::chrono::steady_clock::now() + kLastPatience;
  while (!kept_.empty()) {
    auto left = std::chrono::ceil<milliseconds>(end - std::chrono::steady_clock::now());
    if (left <= milliseconds::zero() || !wait_for_reader(left)) return;
    pass_on();
  }
}

void EventLog::write(std::string_view event, const nlohmann::ordered_json& members) {
  nlohmann::ordered_json line{
      {"schema", "fleetroot/1"}, {"event", event}, {"time", format_time(clock_.now())}};
  line.update(members);
  // Replaced, where a stranger's name is no UTF-8.
  std::string text = line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  std::lock_guard lock(mutex_);
  if (kept_.size() + text.size() > kMaximumKept) return metrics_.count("log_dropped_total", "");
  kept_ += text;
  pass_on();
  if (!kept_.empty()) changed_.notify_one();
}

void EventLog::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return is_stopping_ || !kept_.empty(); });
    if (is_stopping_) return;
    lock.unlock();
    wait_for_reader(kInterval);
    lock.lock();
    pass_on();
  }
}

// As much as the reader takes now. The lock is held.
void EventLog::pass_on() {
  std::string_view rest = kept_;
  while (!rest.empty() && wait_for_reader(milliseconds::zero())) {
    std::string_view piece = piece_of(rest);
    ssize_t written = ::write(STDOUT_FILENO, piece.data(), piece.size());
    if (written < 0 && (errno == EINTR || errno == EAGAIN)) break;
    if (written < 0) {  // nobody reads it any more
      metrics_.count("log_dropped_total", "", std::count(rest.begin(), rest.end(), '\n'));
      rest = {};
      break;
    }
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  kept_.erase(0, kept_.size() - rest.size());
}

}  // namespace fleetroot::gateway
