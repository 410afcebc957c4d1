#include "lib/media/bundle_json.h"

#include <fmt/format.h>

#include "lib/base/error.h"
#include "lib/base/strict_json.h"
#include "lib/x509/openssl.h"

namespace fleetroot::media {
namespace {

Error damaged(std::string why) {
  return {ErrorCode::bundle_damaged, std::move(why),
          "docs/formats.md says how a bundle is written; nothing was taken from this one"};
}

}  // namespace

void refuse_member(std::string_view where, std::string_view why) {
  throw damaged(fmt::format("in the bundle, {}: {}", where, why));
}

Json parse_strictly(const std::string& text) {
  Json json;
  try {
    json = parse_strict_json(text);
  } catch (const Error& error) {
    throw damaged("in the bundle, " + error.message());
  }
  if (!json.is_object()) throw damaged("what is signed in the bundle is not a JSON object");
  return json;
}

Members::Members(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
  if (!object.is_object()) refuse_member(where_, "is not an object");
}

const Json* Members::optional(const char* name) {
  known_.insert(name);
  auto found = object_.find(name);
  return found == object_.end() ? nullptr : &*found;
}

const Json& Members::any(const char* name) {
  const Json* found = optional(name);
  if (found == nullptr) refuse_member(name, "is missing");
  return *found;
}

std::string Members::text(const char* name) {
  const Json& value = any(name);
  if (!value.is_string()) refuse_member(name, "is not a text");
  return value.get<std::string>();
}

long long Members::number(const char* name) {
  constexpr long long kLargestThatEveryReaderHolds = 1LL << 53;
  const Json& value = any(name);
  if (!value.is_number_unsigned() || value.get<unsigned long long>() > kLargestThatEveryReaderHolds)
    refuse_member(name, "is not a whole number from 0 on");
  return value.get<long long>();
}

Time Members::time(const char* name) {
  std::optional<Time> time = parse_time(text(name));
  if (!time) refuse_member(name, "is not a time like 2026-11-24T12:32:24Z");
  return *time;
}

std::string Members::digest(const char* name) {
  std::string value = text(name);
  if (value.size() != 64 || value.find_first_not_of("0123456789abcdef") != std::string::npos)
    refuse_member(name, "is not a SHA-256 digest in lower-case hexadecimal");
  return value;
}

Bytes Members::base64(const char* name) {
  std::optional<Bytes> bytes = from_base64(text(name));
  if (!bytes) refuse_member(name, "is not base64 in one line");
  return *std::move(bytes);
}

const Json& Members::list(const char* name, std::size_t maximum) {
  const Json& value = any(name);
  if (!value.is_array()) refuse_member(name, "is not a list");
  if (value.size() > maximum) refuse_member(name, fmt::format("is longer than {}", maximum));
  return value;
}

void Members::refuse_others() const {
  for (const auto& member : object_.items()) {
    if (!known_.contains(member.key()))
      refuse_member(member.key(), fmt::format("{} has no such member", where_));
  }
}

}  // namespace fleetroot::media
