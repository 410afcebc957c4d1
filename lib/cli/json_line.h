// What machines read on stdout: one JSON object a line (docs/formats.md).
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "lib/base/error.h"

namespace fleetroot::cli {

// The member `error` of events: code, message, hint, retry.
nlohmann::ordered_json error_json(const Error& error);

// The line, without its end, that print_json writes.
std::string json_line(const nlohmann::ordered_json& object);

// With the schema's name in front. Text that is no UTF-8 is mended: a token may say anything.
void print_json(const nlohmann::ordered_json& object);

}  // namespace fleetroot::cli
