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

// The one object of a command that fails: `object`, then "result":"fail" and the error. At once: what comes
// after it may end the process.
void print_failure(nlohmann::ordered_json object, const Error& error);

// What `body` returns. Where it throws an Error and `json` is wanted, stdout says so as well.
template <typename Body>
auto or_json_failure(bool json, const nlohmann::ordered_json& object, const Body& body) {
  try {
    return body();
  } catch (const Error& error) {
    if (json) print_failure(object, error);
    throw;
  }
}

}  // namespace fleetroot::cli
