#include "tool/line_report.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>

#include "lib/base/printable.h"
#include "lib/base/process.h"
#include "lib/cli/json_line.h"

namespace fleetroot::station {
namespace {

using Json = nlohmann::ordered_json;
using Result = Verdict::Result;

struct Word {
  Result result;
  std::string_view json;  // as `provision` says it
  std::string_view human;
  std::string_view detail;
};
constexpr std::array kWords{Word{Result::pass, "pass", "PASS", ""},
                            Word{Result::already, "already", "PASS", "already provisioned"},
                            Word{Result::queued, "queued", "QUEUED", "no identity yet: its request waits"},
                            Word{Result::fail, "fail", "FAIL", ""}};

const Word& word_for(Result result) {
  return kWords.at(static_cast<std::size_t>(result));
}

std::string in_seconds(double milliseconds) {
  return fmt::format("{:.1f} s", milliseconds / 1000);
}

}  // namespace

std::optional<Json> parse_event(const std::string& line) {
  Json event = Json::parse(line, nullptr, false);
  if (!event.is_object() || event.value("schema", Json()) != "fleetroot/1") return std::nullopt;
  return event;
}

std::optional<Verdict> verdict_in(const Json& event) try {
  if (event.value("event", Json()) != "device") return std::nullopt;
  for (const Word& word : kWords) {
    if (event.at("result") != word.json) continue;
    if (word.result != Result::fail) return Verdict{.result = word.result, .error = {}};
    const Json& error = event.at("error");
    return Verdict{
        .result = word.result,
        .error = Error(error_code_from_name(error.at("code").get<std::string>()),
                       error.at("message").get<std::string>(), error.at("hint").get<std::string>())};
  }
  return std::nullopt;
} catch (const Json::exception&) {
  return std::nullopt;
}

void LineReport::device_begins() {
  if (!since_first_) since_first_.emplace();
}

void LineReport::pass_on(Json event, const BayName& bay) {
  if (format_ != Reporter::Format::json) return;
  event["bay"] = bay.text();
  write(cli::json_line(event));
}

void LineReport::ended(const DeviceId& device_id, const BayName& bay, double milliseconds,
                       const Verdict& verdict) {
  count(verdict);
  if (format_ == Reporter::Format::json) return;
  std::string place = fmt::format("bay {}", bay.text());
  if (verdict.error) return write_failure(device_id.text(), place, milliseconds, *verdict.error);
  const Word& word = word_for(verdict.result);
  write(fmt::format("{} {}  {}  {}{}{}", word.human, device_id.text(), place, in_seconds(milliseconds),
                    word.detail.empty() ? "" : "  ", word.detail));
}

void LineReport::failed(const DeviceId& device_id, const BayName& bay, double milliseconds,
                        const Error& error) {
  pass_on({{"event", "device"},
           {"device_id", device_id.text()},
           {"result", "fail"},
           {"error", cli::error_json(error)},
           {"millis", rounded(milliseconds)}},
          bay);
  ended(device_id, bay, milliseconds, {.result = Result::fail, .error = error});
}

void LineReport::refused(std::size_t line, const std::optional<DeviceId>& device_id, const Error& error) {
  count({.result = Result::fail, .error = error});
  std::string id = device_id ? device_id->text() : "";
  if (format_ == Reporter::Format::json) {
    write(cli::json_line({{"event", "device"},
                          {"device_id", id},
                          {"line", line},
                          {"result", "fail"},
                          {"error", cli::error_json(error)},
                          {"millis", 0.0}}));
  } else {
    write_failure(id.empty() ? "-" : id, fmt::format("line {}", line), 0, error);
  }
}

void LineReport::remark(const DeviceId& device_id, const BayName& bay, std::string_view text) {
  std::string line = printable(fmt::format("bay {}, {}: {}", bay.text(), device_id.text(), text)) + '\n';
  write_fully(STDERR_FILENO, as_bytes(line));
}

void LineReport::summary(std::size_t not_begun, const std::optional<Error>& unread) {
  double milliseconds = since_first_ ? since_first_->milliseconds() : 0;
  std::size_t good = passed_ + already_ + queued_;
  long long an_hour =
      milliseconds > 0 ? static_cast<long long>(static_cast<double>(good) * 3'600'000 / milliseconds) : 0;
  if (format_ == Reporter::Format::json) {
    Json event{{"event", "line"}, {"result", failed_ == 0 && !unread ? "pass" : "fail"}};
    if (unread) event["error"] = cli::error_json(*unread);
    event.update({{"passed", passed_},
                  {"already", already_},
                  {"queued", queued_},
                  {"failed", failed_},
                  {"retry", to_try_again_},
                  {"not_begun", not_begun},
                  {"millis", rounded(milliseconds)},
                  {"devices_per_hour", an_hour}});
    write(cli::json_line(event));
    return;
  }
  std::string left = not_begun > 0 ? fmt::format(", {} scanned and not begun", not_begun) : "";
  write(fmt::format("{} passed, {} already, {} queued, {} failed ({} to try again){}; {}, {} devices an hour",
                    passed_, already_, queued_, failed_, to_try_again_, left, in_seconds(milliseconds),
                    an_hour));
}

void LineReport::refuse_failures() const {
  if (!worst_) return;
  throw Error(*worst_,
              fmt::format("{} of {} devices failed", failed_, passed_ + already_ + queued_ + failed_),
              to_try_again_ == failed_ ? "scan them again: each resumes where it ended"
                                       : "each line that says FAIL tells why, and what to do");
}

void LineReport::count(const Verdict& verdict) {
  failures_in_a_row_ = verdict.error ? failures_in_a_row_ + 1 : 0;
  switch (verdict.result) {
    case Result::pass:
      ++passed_;
      return;
    case Result::already:
      ++already_;
      return;
    case Result::queued:
      ++queued_;
      return;
    case Result::fail:
      break;
  }
  ++failed_;
  ErrorCode code = verdict.error->code();
  if (is_retryable(code)) ++to_try_again_;
  if (!worst_ || (is_retryable(*worst_) && !is_retryable(code))) worst_ = code;
}

void LineReport::write_failure(const std::string& device_id, std::string_view place, double milliseconds,
                               const Error& error) {
  write(printable(fmt::format("FAIL {}  {}  {}  {}; hint: {}", device_id, place, in_seconds(milliseconds),
                              error.what(), error.hint())));
}

void LineReport::write(std::string line) {
  line += '\n';
  if (is_writable_) is_writable_ = write_fully(STDOUT_FILENO, as_bytes(line));
}

}  // namespace fleetroot::station
