// Names that people give to things: work orders, stations, profiles. Made only by parse(), so that past the
// edge no raw string can carry a slash, a quote or a control character into a path, a DN or a query.
#pragma once

#include <compare>
#include <string>
#include <string_view>

namespace fleetroot {

// Throws Error(usage) unless text is 1 to 64 characters of A-Z a-z 0-9 . _ - and begins with a letter or
// digit. `kind` is the word that the error uses ("order", "station").
std::string parse_name(std::string_view kind, std::string_view text);

template <typename Kind>
class Name {
 public:
  static Name parse(std::string_view text) { return Name(parse_name(Kind::kWord, text)); }
  const std::string& text() const { return text_; }
  // clang-tidy takes the compiler's own zero for a null pointer.
  auto operator<=>(const Name&) const = default;  // NOLINT(modernize-use-nullptr)

 private:
  explicit Name(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

struct OrderKind {
  static constexpr std::string_view kWord = "order";
};
struct StationKind {
  static constexpr std::string_view kWord = "station";
};
struct ProfileKind {
  static constexpr std::string_view kWord = "profile";
};
using OrderId = Name<OrderKind>;
using StationName = Name<StationKind>;
using ProfileName = Name<ProfileKind>;

}  // namespace fleetroot
