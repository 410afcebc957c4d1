// JSON that is read strictly: each member is asked for by name, and one that nobody asked for, or that is
// given twice, is an error. For this folder only.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"

namespace fleetroot::media {

using Json = nlohmann::ordered_json;

// Error(bundle_damaged): `where` is a member's name.
[[noreturn]] void refuse_member(std::string_view where, std::string_view why);

// Error(bundle_damaged) unless it is one JSON object, and strict (lib/base/strict_json.h).
Json parse_strictly(const std::string& text);

// The members of one object, each taken once. Throws Error(bundle_damaged) for one of another type.
class Members {
 public:
  Members(const Json& object, std::string where);

  const Json& any(const char* name);
  const Json* optional(const char* name);
  std::string text(const char* name);
  long long number(const char* name);  // 0 or more
  Time time(const char* name);
  std::string digest(const char* name);  // 64 lower-case hexadecimal digits
  Bytes base64(const char* name);
  const Json& list(const char* name, std::size_t maximum);

  // What parse() makes of the text; an Error of its becomes one about this member.
  template <typename Parse>
  auto parsed(const char* name, const Parse& parse) {
    std::string value = text(name);
    try {
      return parse(value);
    } catch (const Error& error) {
      refuse_member(name, error.message());
    }
  }

  // After all that may be there has been asked for.
  void refuse_others() const;

 private:
  const Json& object_;
  std::string where_;
  std::set<std::string_view> known_;
};

}  // namespace fleetroot::media
