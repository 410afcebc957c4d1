// What a person and a machine see of one device: a line a step and a last line, or one JSON object a line
// (docs/formats.md, "fleetroot/1").
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lib/base/clock.h"
#include "lib/base/error.h"

namespace fleetroot::station {

// For JSON: no more than a thousandth of one.
double rounded(double milliseconds);

class Reporter {
 public:
  enum class Format { human, json };
  explicit Reporter(Format format) : format_(format) {}

  void set_device_id(std::string device_id) { device_id_ = std::move(device_id); }
  void step_begins(int number, std::string_view name);
  void step_ends();

  // "pass" or "already"; `detail` is for people.
  void passed(std::string_view result, const std::string& detail);
  // The device has no identity yet, and nothing is wrong: its request waits for an answer.
  void queued(const std::string& detail);
  void failed(const Error& error);

 private:
  void end_well(std::string_view result, std::string_view word, const std::string& detail);

  Format format_;
  std::string device_id_;
  Stopwatch total_;
  Stopwatch in_step_;
  int step_ = 0;
  std::string_view name_;
};

}  // namespace fleetroot::station
