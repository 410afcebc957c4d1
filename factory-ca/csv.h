// RFC 4180, read strictly.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fleetroot::ca {

struct CsvRow {
  std::size_t line;  // where it begins, from 1
  std::vector<std::string> fields;
};

// Every row, the header included. Lines end with LF or CRLF; a byte order mark is dropped; empty lines are
// skipped. Error(bad_request) names the line: NUL, a quote inside a plain field, text after a closing quote,
// an open quote, a bare CR.
std::vector<CsvRow> parse_csv(std::string_view text);

}  // namespace fleetroot::ca
