#include "lib/cli/json_line.h"

#include <fmt/format.h>

namespace fleetroot::cli {

void print_json(const nlohmann::ordered_json& object) {
  nlohmann::ordered_json line{{"schema", "fleetroot/1"}};
  line.update(object);
  fmt::print("{}\n", line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

}  // namespace fleetroot::cli
