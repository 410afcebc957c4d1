// A running line: scans come in on stdin, each bay works on one device at a time, all bays at once. One
// thread that polls; each device has a process of its own (device_process.h).
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/files.h"
#include "lib/base/names.h"
#include "tool/bay.h"
#include "tool/line_buffer.h"
#include "tool/line_input.h"
#include "tool/line_report.h"

namespace fleetroot::station {

struct LineSettings {
  std::string home;
  OrderId order;
  std::string ca;
  // At least one, each with its own name.
  std::vector<Bay> bays;
  // So many failures in a row stop the line; 0: none does.
  std::size_t stop_after = 0;
};

// run() once.
class Line {
 public:
  Line(LineSettings settings, LineReport& report);
  ~Line();

  // Until stdin ends, or a signal, a reader who has gone away, or too many failures in a row stop it; then no
  // device begins any more, and those in work finish. A second SIGINT or SIGTERM ends those too. Error(io) if
  // stdin or stdout breaks; what devices fail with is the report's.
  void run();

 private:
  struct DeviceInWork;

  void begin_waiting();
  std::optional<std::size_t> free_bay_for(const LineJob& job) const;
  bool is_in_work(const DeviceId& device_id) const;
  void begin(std::size_t bay, LineJob job);

  void poll_once();
  void take_signal();
  void take_input();
  void take_line(const std::string& line);
  void refuse_unless_placed(const LineJob& job) const;
  void take_output(DeviceInWork& device);
  void end(std::size_t bay);

  LineSettings settings_;
  LineReport& report_;
  FileDescriptor signals_;
  bool any_bay_will_do_;

  LineBuffer input_{kMaximumScan};
  std::size_t lines_ = 0;
  std::deque<LineJob> waiting_;
  std::vector<std::unique_ptr<DeviceInWork>> in_work_;  // one a bay; none while the bay is free
  bool input_ended_ = false;
  std::optional<Error> input_error_;
  bool stopped_ = false;
  bool interrupted_ = false;
};

}  // namespace fleetroot::station
