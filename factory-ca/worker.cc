#include "factory-ca/worker.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "lib/base/program.h"

namespace fleetroot::ca {
namespace {

using std::chrono::steady_clock;

// A token that answered before answers again within this, or hangs; somebody who types a PIN may take longer.
constexpr std::chrono::milliseconds kStartPatience{60'000};
// One that dies as soon as it has started is started again after this long.
constexpr std::chrono::milliseconds kPause{500};

}  // namespace

void say(Word word) {
  auto byte = static_cast<std::uint8_t>(word);
  write_fully(STDOUT_FILENO, BytesView(&byte, 1));
}

Worker::Worker(std::string name, std::function<int()> body, std::vector<int> kept, int signals,
               bool types_pin)
    : name_(std::move(name)),
      body_(std::move(body)),
      kept_(std::move(kept)),
      signals_(signals),
      milliseconds_to_start_(types_pin ? -1 : static_cast<int>(kStartPatience.count())) {}

bool Worker::start() {
  return start_within(-1);
}

Word Worker::word() const {
  std::uint8_t said = 0;
  read_fully(fd(), {&said, 1}, steady_clock::time_point::max());
  return Word{said};
}

int Worker::wait(std::chrono::seconds grace) {
  return child_ ? std::exchange(child_, std::nullopt)->wait(grace) : 0;
}

int Worker::replace() {
  wait(kGrace);
  return start_again();
}

void Worker::end_if_silent_for(std::chrono::seconds silence) {
  if (!child_ || steady_clock::now() - ready_ < silence) return;
  print_remark("fleetroot-ca", fmt::format("the {} has answered nobody for {} s, as where its token hangs: "
                                           "it is killed, and started again",
                                           name_, silence.count()));
  wait(std::chrono::seconds(0));
}

int Worker::keep_alive(bool has_died) {
  if (has_died && child_) {
    int status = wait(kUnreadyGrace);
    print_remark("fleetroot-ca",
                 fmt::format("the {} ended (exit code {}) and is started again", name_, status));
  }
  return child_ ? 0 : start_again();
}

bool Worker::start_within(int milliseconds) {
  started_ = steady_clock::now();
  child_.emplace(body_, kept_);
  pollfd events[2] = {{child_->stdout_fd(), POLLIN, 0}, {signals_, POLLIN, 0}};
  while (poll(events, 2, milliseconds) < 0 && errno == EINTR) {
  }
  if (events[1].revents != 0) child_->ask_to_end();
  if (events[1].revents != 0 || events[0].revents == 0) return false;
  ready_ = steady_clock::now();
  return word() == Word::ready;
}

int Worker::start_again() {
  while (steady_clock::now() - started_ < kPause) poll(nullptr, 0, static_cast<int>(kPause.count()));
  if (start_within(milliseconds_to_start_)) return 0;
  int status = wait(kUnreadyGrace);
  // Every try costs one of the PIN's.
  if (status == exit_code(ErrorCode::pin_wrong)) return status;
  print_remark("fleetroot-ca", fmt::format("the {} does not start (exit code {}); next try in {} s", name_,
                                           status, kLook.count()));
  return 0;
}

}  // namespace fleetroot::ca
