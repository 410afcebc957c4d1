#include "tool/reporter.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>

#include "lib/cli/json_line.h"
#include "tool/device_check.h"

namespace fleetroot::station {
namespace {

using Json = nlohmann::ordered_json;

// Whoever reads along shall know at once.
void print_line(const Json& event) {
  cli::print_json(event);
  std::fflush(stdout);
}

bool is_watched() {
  return isatty(STDERR_FILENO) == 1;
}

// A line that fills the terminal's last column may go on in the next one, where no \r finds it again.
int room_for_progress() {
  winsize size{};
  bool is_known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return is_known ? size.ws_col - 1 : std::numeric_limits<int>::max();
}

void clear_progress() {
  if (is_watched()) fmt::print(stderr, "\r\033[K");
}

// What may be wrong with the device's own token, or with its PIN, and with nothing else on the line.
bool may_be_about_token(ErrorCode code) {
  constexpr std::array kCodes{ErrorCode::token_full, ErrorCode::pin_missing,     ErrorCode::pin_wrong,
                              ErrorCode::pin_locked, ErrorCode::token_untrusted, ErrorCode::token_failed};
  return std::find(kCodes.begin(), kCodes.end(), code) != kCodes.end();
}

// The one token that submitting and confirming ask for anything is the station's own.
bool asks_own_token(int step) {
  return step == 7 || step == 10;
}

std::string_view what_to_do(ErrorCode code, int step) {
  if (is_retryable(code)) return "try the same device again";
  bool is_this_ones = may_be_about_token(code) ? !asks_own_token(step) : is_about_device(code);
  if (is_this_ones) return "hold this device";
  return "hold the line: it is not this device's fault";  // the next one will fare no better
}

}  // namespace

double rounded(double milliseconds) {
  return static_cast<double>(static_cast<long long>(milliseconds * 1000)) / 1000;
}

void Reporter::step_begins(int number, std::string_view name) {
  step_ = number;
  in_step_ = Stopwatch();
  name_ = name;
  if (format_ == Format::human && is_watched()) {
    std::string line = fmt::format("{}  step {} of 10: {} …", device_id_, number, name);
    fmt::print(stderr, "\r\033[K{:.{}}", line, room_for_progress());
    std::fflush(stderr);
  }
}

void Reporter::step_ends() {
  if (format_ != Format::json) return;
  print_line({{"event", "step"},
              {"device_id", device_id_},
              {"step", step_},
              {"name", name_},
              {"result", "ok"},
              {"millis", rounded(in_step_.milliseconds())}});
}

void Reporter::passed(std::string_view result, const std::string& detail) {
  end_well(result, "PASS", detail);
}

void Reporter::queued(const std::string& detail) {
  end_well("queued", "WAIT", detail);
}

void Reporter::end_well(std::string_view result, std::string_view word, const std::string& detail) {
  if (format_ == Format::json) {
    print_line({{"event", "device"},
                {"device_id", device_id_},
                {"result", result},
                {"millis", rounded(total_.milliseconds())}});
    return;
  }
  clear_progress();
  fmt::print("{} {}  {}\n", word, device_id_, detail);
}

void Reporter::failed(const Error& error) {
  if (format_ == Format::json) {
    Json event{{"event", "device"}, {"device_id", device_id_}};
    if (step_ > 0) event.update({{"step", step_}, {"name", name_}});
    event.update(
        {{"result", "fail"}, {"error", cli::error_json(error)}, {"millis", rounded(total_.milliseconds())}});
    print_line(event);
    return;
  }
  clear_progress();
  fmt::print("FAIL {}  {}\n", device_id_, what_to_do(error.code(), step_));
}

}  // namespace fleetroot::station
