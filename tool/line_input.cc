#include "tool/line_input.h"

#include <fmt/format.h>

#include "lib/base/strict_json.h"

namespace fleetroot::station {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void refuse(std::string why) {
  throw Error(ErrorCode::usage, "the JSON line " + why,
              R"(write it like {"device_id":"…","bay":"1"}; "order" and "token" may follow)");
}

// One object with texts in it.
Json parse_object(std::string_view text) {
  Json object;
  try {
    object = parse_strict_json(text);
  } catch (const Error& error) {
    refuse("has a fault: " + error.message());
  }
  if (object.is_discarded()) refuse("is no JSON object");
  for (const auto& [name, value] : object.items()) {
    if (!value.is_string()) refuse(fmt::format("gives {} a value that is no text", name));
  }
  return object;
}

LineJob parse_json(std::string_view text, std::optional<DeviceId>& named) {
  Json object = parse_object(text);
  auto take = [&](const char* name) {
    std::optional<std::string> value;
    auto found = object.find(name);
    if (found == object.end()) return value;
    value = found->get<std::string>();
    object.erase(found);
    return value;
  };
  std::optional<std::string> device_id = take("device_id");
  if (!device_id) refuse("has no device_id");
  named = DeviceId::parse(*device_id);
  LineJob job{.device_id = *named};
  if (std::optional<std::string> order = take("order")) job.order = OrderId::parse(*order);
  if (std::optional<std::string> bay = take("bay")) job.bay = BayName::parse(*bay);
  if (std::optional<std::string> token = take("token"))
    job.token = TokenTemplate::parse(*token, {}, "the scanned");
  if (!object.empty()) refuse(fmt::format("has a member that is not known: {}", object.begin().key()));
  return job;
}

}  // namespace

std::string_view without_byte_order_mark(std::string_view text) {
  constexpr std::string_view kMark = "\xef\xbb\xbf";
  if (text.starts_with(kMark)) text.remove_prefix(kMark.size());
  return text;
}

std::optional<LineJob> parse_scan(std::string_view line, std::optional<DeviceId>& named) {
  if (line.size() > kMaximumScan) {
    throw Error(ErrorCode::usage, fmt::format("the line has more than {} bytes", kMaximumScan),
                "end each device's line with a line end");
  }
  while (line.ends_with('\r')) line.remove_suffix(1);
  if (line.find_first_not_of(" \t") == std::string_view::npos) return std::nullopt;
  if (line.starts_with('{')) return parse_json(line, named);
  return LineJob{.device_id = DeviceId::parse(line)};
}

}  // namespace fleetroot::station
