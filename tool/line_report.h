// What a line says of its devices: a line a device and one at the end for people; for machines the events of
// the devices' own processes, and one at the end (docs/formats.md).
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "tool/bay.h"
#include "tool/reporter.h"

namespace fleetroot::station {

// What a device's process said last.
struct Verdict {
  enum class Result { pass, already, queued, fail };
  Result result = Result::fail;
  std::optional<Error> error;  // of a failure
};

// An event as a device's process writes it; nothing for a line that is none, such as a module's chatter.
std::optional<nlohmann::ordered_json> parse_event(const std::string& line);
// The verdict in it, in its one event "device"; nothing in the others.
std::optional<Verdict> verdict_in(const nlohmann::ordered_json& event);

// One thread. Every line is written whole and at once. When stdout is closed it stays silent.
class LineReport {
 public:
  explicit LineReport(Reporter::Format format) : format_(format) {}

  void device_begins();
  // For machines, as it comes.
  void pass_on(nlohmann::ordered_json event, const BayName& bay);
  // The process of the device has ended and has said this.
  void ended(const DeviceId& device_id, const BayName& bay, double milliseconds, const Verdict& verdict);
  // One that has no process, or whose process has said nothing.
  void failed(const DeviceId& device_id, const BayName& bay, double milliseconds, const Error& error);
  // Line number `line` of the input names no device, or none that can begin.
  void refused(std::size_t line, const std::optional<DeviceId>& device_id, const Error& error);
  // On stderr: what a process, the CA's too, says besides its events.
  void remark(const DeviceId& device_id, const BayName& bay, std::string_view text);
  // The last line. `not_begun`: of the lines that were read; `unread`: why there may be more of them.
  void summary(std::size_t not_begun, const std::optional<Error>& unread);

  bool is_writable() const { return is_writable_; }
  // Nobody reads any more.
  void close() { is_writable_ = false; }
  std::size_t failures_in_a_row() const { return failures_in_a_row_; }
  // Error of the first failure that says hold, or else of the first one, with the whole line's words.
  void refuse_failures() const;

 private:
  void count(const Verdict& verdict);
  void write(std::string line);
  void write_failure(const std::string& device_id, std::string_view place, double milliseconds,
                     const Error& error);

  Reporter::Format format_;
  bool is_writable_ = true;
  std::size_t passed_ = 0, already_ = 0, queued_ = 0, failed_ = 0, to_try_again_ = 0;
  std::size_t failures_in_a_row_ = 0;
  std::optional<ErrorCode> worst_;
  std::optional<Stopwatch> since_first_;
};

}  // namespace fleetroot::station
