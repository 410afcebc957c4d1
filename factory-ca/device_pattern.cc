#include "factory-ca/device_pattern.h"

#include <fmt/format.h>

#include <cctype>

#include "lib/base/error.h"

namespace fleetroot::ca {
namespace {

constexpr std::size_t kMaximumLength = 200;
constexpr int kMaximumCount = 64;

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
  DevicePattern pattern;
  pattern.text_ = text;
  auto expression = std::make_unique<regex_t>();
  // A closing bracket that nothing opened is an ordinary character to this dialect, until something in front
  // opens it: then "a)|b", wrapped, would admit whatever begins with "a".
  if (regcomp(expression.get(), ("(" + text).c_str(), REG_EXTENDED | REG_NOSUB) == 0) {
    regfree(expression.get());
    refuse(text, "it closes a bracket that it does not open", "write \"[)]\" for the character itself");
  }
  // Alone first: wrapped in brackets, "a)(b" would compile.
  for (const std::string& form : {text, "^(" + text + ")$"}) {
    int error = regcomp(expression.get(), form.c_str(), REG_EXTENDED | REG_NOSUB);
    if (error != 0) {
      char reason[128] = "";
      regerror(error, expression.get(), reason, sizeof reason);
      refuse(text, reason, "write a POSIX extended regular expression, as in 1FLEET[0-9]{10}");
    }
    if (form == text) regfree(expression.get());
  }
  pattern.expression_ = {expression.release(), [](regex_t* compiled) {
                           regfree(compiled);
                           delete compiled;
                         }};
  return pattern;
}

bool DevicePattern::matches(const DeviceId& id) const {
  return regexec(expression_.get(), id.text().c_str(), 0, nullptr, 0) == 0;
}

}  // namespace fleetroot::ca
