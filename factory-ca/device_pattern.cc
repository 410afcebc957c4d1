#include "factory-ca/device_pattern.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string_view>

#include "lib/base/error.h"

namespace fleetroot::ca {
namespace {

constexpr std::size_t kMaximumLength = 200;
constexpr int kMaximumCount = 64;
constexpr int kMaximumSize = 1000;

[[noreturn]] void refuse(const std::string& text, std::string_view why, std::string hint) {
  throw Error(ErrorCode::usage, fmt::format("the pattern \"{}\" cannot be used: {}", text, why),
              std::move(hint));
}

bool is_alphanumeric(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0;
}

void refuse_what_reads_differently(const std::string& text) {
  int count = 0;
  bool in_braces = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      if (i + 1 < text.size() && is_alphanumeric(text[i + 1])) {
        refuse(text, "it has a backslash before a letter or digit",
               "write [0-9] for a digit and [A-Z] for a letter");
      }
      ++i;
      continue;
    }
    if (text[i] == '{' || text[i] == ',') count = 0;
    if (text[i] == '{') in_braces = true;
    if (text[i] == '}') in_braces = false;
    if (in_braces && std::isdigit(static_cast<unsigned char>(text[i])) != 0) {
      count = count * 10 + (text[i] - '0');
      if (count > kMaximumCount) {
        refuse(text, "it counts beyond 64", "a device ID has at most 64 characters");
      }
    }
  }
}

// Reads a pattern for what regcomp() will need for it: that writes out what is repeated, so counts within
// counts multiply, and it takes exponential time where something is repeated that may be nothing.
class Growth {
 public:
  static void refuse_unless_small(const std::string& text) {
    Growth growth(text);
    while (growth.at_ < text.size()) {
      growth.refuse_if_large(growth.read_alternatives());
      ++growth.at_;  // what no bracket opened is refused elsewhere
    }
  }

 private:
  struct Part {
    int size = 1;  // in characters and sets
    bool may_be_nothing = false;
  };
  struct Repetition {
    int least = 0, written_out = 1;
  };

  explicit Growth(const std::string& text) : text_(text) {}

  // Up to the closing bracket, or the end.
  Part read_alternatives() {
    Part all;
    bool is_empty = true;
    while (at_ < text_.size() && text_[at_] != ')') {
      if (text_[at_] == '|') {
        all.may_be_nothing |= is_empty;
        is_empty = true;
        ++at_;
        continue;
      }
      Part part = read_repeated();
      all.size += part.size;
      is_empty &= part.may_be_nothing;
    }
    all.may_be_nothing |= is_empty;
    return all;
  }
  Part read_repeated() {
    Part part = read_one();
    while (at_ < text_.size() && std::string_view("*+?{").find(text_[at_]) != std::string_view::npos) {
      if (part.may_be_nothing) {
        refuse(text_, "it repeats what may be nothing",
               "let what is repeated have a character at least, as in A(-[0-9]+)*");
      }
      Repetition repetition = read_repetition();
      part.size *= repetition.written_out;
      part.may_be_nothing = repetition.least == 0;
      refuse_if_large(part);
    }
    return part;
  }
  Part read_one() {
    char c = text_[at_];
    if (c == '(') {
      ++at_;
      Part bracket = read_alternatives();
      ++at_;
      return bracket;
    }
    if (c == '[') at_ = end_of_set();
    if (c == '\\') ++at_;
    ++at_;
    return {.may_be_nothing = c == '^' || c == '$'};
  }
  // A "]" at its start is one of its characters, and "[:alpha:]" within it is a name.
  std::size_t end_of_set() const {
    std::size_t i = at_ + 1;
    if (text_.substr(i, 1) == "^") ++i;
    if (text_.substr(i, 1) == "]") ++i;
    while (i < text_.size() && text_[i] != ']') {
      std::string opened = text_.substr(i, 2);
      bool is_name = opened == "[:" || opened == "[." || opened == "[=";
      std::size_t end = is_name ? text_.find({opened[1], ']'}, i + 2) : i;
      if (end == std::string::npos) return text_.size();
      i = is_name ? end + 2 : i + 1;
    }
    return i;
  }
  Repetition read_repetition() {
    char c = text_[at_++];
    if (c == '*' || c == '?') return {.least = 0, .written_out = 1};
    if (c == '+') return {.least = 1, .written_out = 2};
    std::size_t end = std::min(text_.find('}', at_), text_.size());
    std::string counts = text_.substr(at_, end - at_);
    at_ = end + 1;
    int least = std::atoi(counts.c_str());
    std::size_t comma = counts.find(',');
    int most = least;
    if (comma != std::string::npos) most = std::atoi(counts.c_str() + comma + 1);
    if (counts.ends_with(',')) most = least + 1;
    return {.least = least, .written_out = std::max(most, 1)};
  }
  void refuse_if_large(const Part& part) const {
    if (part.size <= kMaximumSize) return;
    refuse(text_, "it is too large once what it repeats is written out",
           "a device ID has at most 64 characters: count to less within what is counted");
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

std::shared_ptr<const regex_t> compile(const std::string& text, const std::string& form) {
  auto expression = std::make_unique<regex_t>();
  int error = regcomp(expression.get(), form.c_str(), REG_EXTENDED | REG_NOSUB);
  if (error != 0) {
    char reason[128] = "";
    regerror(error, expression.get(), reason, sizeof reason);
    refuse(text, reason, "write a POSIX extended regular expression, as in 1FLEET[0-9]{10}");
  }
  return {expression.release(), [](regex_t* compiled) {
            regfree(compiled);
            delete compiled;
          }};
}

}  // namespace

DevicePattern DevicePattern::parse(const std::string& text) {
  if (text.empty() || text.size() > kMaximumLength) {
    refuse(text.substr(0, kMaximumLength), fmt::format("it has {} characters", text.size()),
           "write 1 to 200 characters, as in 1FLEET[0-9]{10}");
  }
  if (text.find('\0') != std::string::npos || text.find('\n') != std::string::npos) {
    refuse(text, "it has a NUL or a line break", "write it in one line");
  }
  refuse_what_reads_differently(text);
  Growth::refuse_unless_small(text);
  // A closing bracket that nothing opened is an ordinary character to this dialect, until something in front
  // opens it: then "a)|b", wrapped, would admit whatever begins with "a".
  regex_t expression;
  if (regcomp(&expression, ("(" + text).c_str(), REG_EXTENDED | REG_NOSUB) == 0) {
    regfree(&expression);
    refuse(text, "it closes a bracket that it does not open", "write \"[)]\" for the character itself");
  }
  // Alone first: wrapped in brackets, "a)(b" would compile.
  compile(text, text);
  return recorded(text);
}

DevicePattern DevicePattern::recorded(const std::string& text) {
  DevicePattern pattern;
  pattern.text_ = text;
  pattern.expression_ = compile(text, "^(" + text + ")$");
  return pattern;
}

bool DevicePattern::matches(const DeviceId& id) const {
  return regexec(expression_.get(), id.text().c_str(), 0, nullptr, 0) == 0;
}

}  // namespace fleetroot::ca
