#include "lib/base/strict_json.h"

#include <fmt/format.h>

#include <set>
#include <string>
#include <vector>

#include "lib/base/error.h"

namespace fleetroot {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void refuse(std::string why) {
  throw Error(ErrorCode::bad_request, std::move(why), "docs/formats.md says how it is written");
}

// Counts, and keeps nothing but the names of the objects that are open. Not parse()'s callback: for each
// object that ends, the library then searches all of the list that the object is in.
class Look final : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return count(); }
  bool boolean(bool) override { return count(); }
  bool number_integer(number_integer_t) override { return count(); }
  bool number_unsigned(number_unsigned_t) override { return count(); }
  bool number_float(number_float_t, const string_t&) override { return count(); }
  bool string(string_t&) override { return count(); }
  bool binary(binary_t&) override { return count(); }
  bool start_object(std::size_t) override { return open(); }
  bool start_array(std::size_t) override { return open(); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

  bool key(string_t& name) override {
    std::set<std::string>& names = open_.back();
    if (!names.insert(name).second) refuse(fmt::format("{}: is there twice", name));
    if (names.size() > kMaximumJsonMembers)
      refuse(fmt::format("an object has more than {} members", kMaximumJsonMembers));
    return true;
  }

 private:
  bool count() {
    if (++values_ > kMaximumJsonValues)
      refuse(fmt::format("there are more than {} values", kMaximumJsonValues));
    return true;
  }
  bool open() {
    open_.emplace_back();
    if (open_.size() > kMaximumJsonDepth)
      refuse(fmt::format("it is more than {} levels deep", kMaximumJsonDepth));
    return count();
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::size_t values_ = 0;
  std::vector<std::set<std::string>> open_;  // a list has no names
};

}  // namespace

Json parse_strict_json(std::string_view text) {
  // The library drops the one, and takes the other for the end of the text.
  bool has_mark = text.starts_with("\xef\xbb\xbf");
  bool has_nul = text.find('\0') != std::string_view::npos;
  if (has_mark || has_nul) return Json::value_t::discarded;
  Look look;
  Json::sax_parse(text, &look);
  return Json::parse(text, nullptr, false);
}

}  // namespace fleetroot
