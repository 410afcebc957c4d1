#include "factory-ca/csv.h"

#include <fmt/format.h>

#include "lib/base/error.h"

namespace fleetroot::ca {
namespace {

class CsvReader {
 public:
  explicit CsvReader(std::string_view text) : text_(text) {
    constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
    if (text_.starts_with(kByteOrderMark)) text_.remove_prefix(kByteOrderMark.size());
  }

  std::vector<CsvRow> rows() {
    std::vector<CsvRow> rows;
    while (!text_.empty()) {
      if (end_of_line()) continue;
      rows.push_back(row());
    }
    return rows;
  }

 private:
  [[noreturn]] void refuse(std::string_view why) const {
    throw Error(ErrorCode::bad_request, fmt::format("line {}: {}", line_, why),
                "correct the list; it is CSV as in RFC 4180");
  }

  CsvRow row() {
    CsvRow row{.line = line_, .fields = {field()}};
    while (!text_.empty() && !end_of_line()) {
      if (text_.front() != ',') refuse("there is text after a closing quote");
      text_.remove_prefix(1);
      row.fields.push_back(field());
    }
    return row;
  }

  bool end_of_line() {
    std::size_t length = text_.starts_with("\r\n") ? 2 : text_.starts_with('\n') ? 1 : 0;
    if (length == 0) return false;
    text_.remove_prefix(length);
    ++line_;
    return true;
  }

  std::string field() { return text_.starts_with('"') ? quoted_field() : plain_field(); }

  std::string plain_field() {
    std::string_view field = text_.substr(0, text_.find_first_of(std::string_view(",\r\n\"\0", 5)));
    text_.remove_prefix(field.size());
    if (text_.starts_with('"')) refuse("there is a quote inside a field that does not begin with one");
    if (text_.starts_with('\0')) refuse("there is a NUL");
    if (text_.starts_with('\r') && !text_.starts_with("\r\n")) refuse("there is a carriage return alone");
    return std::string(field);
  }

  std::string quoted_field() {
    std::string field;
    text_.remove_prefix(1);
    for (;;) {
      if (text_.empty()) refuse("a quote is open at the end of the file");
      char next = text_.front();
      text_.remove_prefix(1);
      if (next == '\0') refuse("there is a NUL");
      if (next == '\n') ++line_;
      if (next == '"') {
        if (!text_.starts_with('"')) return field;
        text_.remove_prefix(1);
      }
      field.push_back(next);
    }
  }

  std::string_view text_;
  std::size_t line_ = 1;
};

}  // namespace

std::vector<CsvRow> parse_csv(std::string_view text) {
  return CsvReader(text).rows();
}

}  // namespace fleetroot::ca
