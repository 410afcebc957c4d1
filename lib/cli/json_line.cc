#include "lib/cli/json_line.h"

#include <fmt/format.h>

#include <cstdio>

namespace fleetroot::cli {

nlohmann::ordered_json error_json(const Error& error) {
  return {{"code", name_of(error.code())},
          {"message", error.what()},
          {"hint", error.hint()},
          {"retry", is_retryable(error.code())}};
}

std::string json_line(const nlohmann::ordered_json& object) {
  nlohmann::ordered_json line{{"schema", "fleetroot/1"}};
  line.update(object);
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

void print_json(const nlohmann::ordered_json& object) {
  fmt::print("{}\n", json_line(object));
}

void print_failure(nlohmann::ordered_json object, const Error& error) {
  object["result"] = "fail";
  object["error"] = error_json(error);
  print_json(object);
  std::fflush(stdout);
}

}  // namespace fleetroot::cli
