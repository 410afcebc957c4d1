// What machines read on stdout: one JSON object a line (docs/formats.md).
#pragma once

#include <nlohmann/json.hpp>

namespace fleetroot::cli {

// With the schema's name in front. Text that is no UTF-8 is mended: a token may say anything.
void print_json(const nlohmann::ordered_json& object);

}  // namespace fleetroot::cli
