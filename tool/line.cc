#include "tool/line.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "lib/base/process.h"
#include "tool/device_process.h"

namespace fleetroot::station {
namespace {

// What is read ahead of the bays. A scanner is interactive: whoever reads far ahead begins late.
constexpr std::size_t kWaitingPerBay = 3;

std::vector<std::string> arguments_for(const LineSettings& settings, const Bay& bay, const LineJob& job) {
  std::vector<std::string> arguments{"provision",
                                     "--json",
                                     "--home=" + settings.home,
                                     "--order=" + job.order.value_or(settings.order).text(),
                                     "--ca=" + settings.ca,
                                     "--bay=" + bay.name.text(),
                                     "--device-id=" + job.device_id.text(),
                                     "--token=" + job.token.value_or(bay.token).uri_for(job.device_id)};
  if (!bay.module.init_args.empty()) arguments.push_back("--module-args=" + bay.module.init_args);
  if (!bay.module.remote.empty()) arguments.push_back("--remote-module=" + bay.module.remote);
  return arguments;
}

// What a process says that has been killed, or whose module has crashed: nothing.
Error without_verdict(int status) {
  constexpr int kSignalled = 128;
  if (status == kSignalled + SIGKILL || status == kSignalled + SIGTERM || status == kSignalled + SIGINT) {
    return {ErrorCode::busy, "the device was interrupted", "scan it again: it resumes"};
  }
  if (status > kSignalled) {
    return {ErrorCode::module_unusable,
            fmt::format("the device's process crashed (signal {})", status - kSignalled),
            "check the PKCS#11 module of this bay; then scan the device again: it resumes"};
  }
  return {ErrorCode::internal,
          fmt::format("the device's process ended without a word (exit code {})", status),
          "read what it said on stderr; then scan the device again: it resumes"};
}

// What the event says already, and says better.
bool is_said_by_event(const std::string& message) {
  return message.starts_with("fleetroot-station: error: ") ||
         message.starts_with("fleetroot-station: hint: ");
}

}  // namespace

struct Line::DeviceInWork {
  DeviceInWork(LineJob its_job, const BayName& its_bay, std::vector<std::string> arguments)
      : job(std::move(its_job)), bay(its_bay), process(std::move(arguments)) {}

  LineJob job;
  const BayName& bay;
  Stopwatch since;
  DeviceProcess process;
  std::optional<Verdict> verdict;
  std::vector<std::string> last_words;  // its error and hint on stderr, for when there is no verdict
};

Line::Line(LineSettings settings, LineReport& report)
    : settings_(std::move(settings)),
      report_(report),
      signals_(watch_stop_signals()),
      any_bay_will_do_(settings_.bays.size() == 1 ||
                       std::all_of(settings_.bays.begin(), settings_.bays.end(),
                                   [](const Bay& bay) { return bay.token.names_device(); })),
      in_work_(settings_.bays.size()) {}

Line::~Line() = default;

void Line::run() {
  for (;;) {
    if (!stopped_) begin_waiting();
    bool is_idle = std::all_of(in_work_.begin(), in_work_.end(), [](const auto& device) { return !device; });
    if (is_idle && (stopped_ || (input_ended_ && waiting_.empty()))) break;
    poll_once();
    if (!report_.is_writable()) stopped_ = true;
    if (settings_.stop_after > 0 && report_.failures_in_a_row() >= settings_.stop_after) stopped_ = true;
  }
  report_.summary(waiting_.size(), input_error_);
  if (!report_.is_writable()) {
    throw Error(ErrorCode::io, "the line's output cannot be written any more",
                "check who reads it; what was in work has finished, and every scan may be repeated");
  }
  if (input_error_) throw Error(*input_error_);
}

// In the order of the scans, but none waits for a bay that it does not need. The same device twice keeps its
// order.
void Line::begin_waiting() {
  std::set<std::string> held;
  std::deque<LineJob> still_waiting;
  for (LineJob& job : waiting_) {
    bool must_wait = held.contains(job.device_id.text()) || is_in_work(job.device_id);
    std::optional<std::size_t> bay = must_wait ? std::nullopt : free_bay_for(job);
    if (bay) {
      begin(*bay, std::move(job));
    } else {
      held.insert(job.device_id.text());
      still_waiting.push_back(std::move(job));
    }
  }
  waiting_ = std::move(still_waiting);
}

std::optional<std::size_t> Line::free_bay_for(const LineJob& job) const {
  for (std::size_t bay = 0; bay < in_work_.size(); ++bay) {
    if (!in_work_[bay] && (!job.bay || *job.bay == settings_.bays[bay].name)) return bay;
  }
  return std::nullopt;
}

bool Line::is_in_work(const DeviceId& device_id) const {
  return std::any_of(in_work_.begin(), in_work_.end(),
                     [&](const auto& device) { return device && device->job.device_id == device_id; });
}

void Line::begin(std::size_t bay, LineJob job) {
  report_.device_begins();
  const Bay& place = settings_.bays[bay];
  try {
    std::vector<std::string> arguments = arguments_for(settings_, place, job);
    in_work_[bay] = std::make_unique<DeviceInWork>(job, place.name, std::move(arguments));
  } catch (const Error& error) {
    report_.failed(job.device_id, place.name, 0, error);
  }
}

void Line::poll_once() {
  bool reads = !input_ended_ && !stopped_ && waiting_.size() < kWaitingPerBay * settings_.bays.size();
  std::vector<pollfd> events{{reads ? STDIN_FILENO : -1, POLLIN, 0},
                             {signals_.get(), POLLIN, 0},
                             {report_.is_writable() ? STDOUT_FILENO : -1, 0, 0}};
  for (const auto& device : in_work_) {
    events.push_back({device ? device->process.ended_fd() : -1, POLLIN, 0});
    events.push_back({device ? device->process.events().fd() : -1, POLLIN, 0});
    events.push_back({device ? device->process.messages().fd() : -1, POLLIN, 0});
  }
  if (poll(events.data(), events.size(), -1) < 0) return;  // EINTR
  for (std::size_t bay = 0; bay < in_work_.size(); ++bay) {
    const pollfd* of_bay = &events[3 + 3 * bay];
    if (of_bay[1].revents != 0 || of_bay[2].revents != 0) take_output(*in_work_[bay]);
    if (of_bay[0].revents != 0) end(bay);
  }
  if (events[2].revents != 0) report_.close();
  if (events[1].revents != 0) take_signal();
  if (events[0].revents != 0) take_input();
}

// The first stops the line, another Ctrl-C or SIGTERM ends the devices too: they are safe at any moment.
void Line::take_signal() {
  signalfd_siginfo signal{};
  if (read(signals_.get(), &signal, sizeof signal) != sizeof signal) return;
  stopped_ = true;
  if (interrupted_) {
    for (const auto& device : in_work_) {
      if (device) device->process.kill();
    }
  }
  // A terminal that goes away sends SIGHUP more than once.
  if (signal.ssi_signo != SIGHUP) interrupted_ = true;
}

// One byte at a time, so that no line is taken from whoever reads stdin after us, or begun late.
void Line::take_input() {
  char c = 0;
  ssize_t got = read(STDIN_FILENO, &c, 1);
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (got > 0) {
    for (const std::string& line : input_.add({&c, 1})) take_line(line);
    return;
  }
  if (got < 0)
    input_error_ = system_error(ErrorCode::io, "cannot read the scans", "check what stdin is", errno);
  input_ended_ = true;
  std::string rest = input_.take_rest();
  if (got == 0 && !rest.empty()) take_line(rest);
}

void Line::take_line(const std::string& line) {
  ++lines_;
  std::optional<DeviceId> named;
  try {
    std::optional<LineJob> job = parse_scan(lines_ == 1 ? without_byte_order_mark(line) : line, named);
    if (!job) return;
    named = job->device_id;
    refuse_unless_placed(*job);
    waiting_.push_back(*job);
  } catch (const Error& error) {
    report_.refused(lines_, named, error);
  }
}

// Nobody guesses which of several tokens a device has.
void Line::refuse_unless_placed(const LineJob& job) const {
  std::string names;
  for (const Bay& bay : settings_.bays) {
    if (job.bay == bay.name) return;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", bay.name.text());
  }
  if (job.bay) {
    throw Error(ErrorCode::usage, fmt::format("there is no bay {}", job.bay->text()),
                fmt::format("the bays are: {}", names));
  }
  if (any_bay_will_do_ || job.token) return;
  throw Error(
      ErrorCode::usage, fmt::format("the line does not say in which bay device {} is", job.device_id.text()),
      fmt::format(R"(write {{"device_id":"{}","bay":"…"}}; the bays are: {})", job.device_id.text(), names));
}

void Line::take_output(DeviceInWork& device) {
  for (const std::string& line : device.process.events().read()) {
    std::optional<nlohmann::ordered_json> event = parse_event(line);
    if (!event) {
      report_.remark(device.job.device_id, device.bay, line);
      continue;
    }
    if (std::optional<Verdict> verdict = verdict_in(*event)) device.verdict = verdict;
    report_.pass_on(*std::move(event), device.bay);
  }
  for (const std::string& line : device.process.messages().read()) {
    if (is_said_by_event(line)) {
      device.last_words.push_back(line);
    } else {
      report_.remark(device.job.device_id, device.bay, line);
    }
  }
}

void Line::end(std::size_t bay) {
  DeviceInWork& device = *in_work_[bay];
  take_output(device);
  int status = device.process.reap();
  double milliseconds = device.since.milliseconds();
  if (device.verdict) {
    report_.ended(device.job.device_id, device.bay, milliseconds, *device.verdict);
  } else {
    for (const std::string& line : device.last_words) report_.remark(device.job.device_id, device.bay, line);
    report_.failed(device.job.device_id, device.bay, milliseconds, without_verdict(status));
  }
  in_work_[bay].reset();
}

}  // namespace fleetroot::station
