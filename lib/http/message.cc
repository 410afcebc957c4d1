#include "lib/http/message.h"

#include <algorithm>
#include <cctype>

namespace fleetroot::http {
namespace {

char lower(char c) {
  return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
}

bool is_same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view find_header(const std::vector<Header>& headers, std::string_view name) {
  auto found = std::find_if(headers.begin(), headers.end(),
                            [&](const Header& h) { return is_same_name(h.name, name); });
  return found == headers.end() ? std::string_view() : std::string_view(found->value);
}

Response with_body(unsigned status, const char* content_type, std::string_view text) {
  BytesView bytes = as_bytes(text);
  return {.status = status, .content_type = content_type, .body = Bytes(bytes.begin(), bytes.end())};
}

}  // namespace

std::string media_type_of(std::string_view content_type) {
  std::string_view value = content_type.substr(0, content_type.find(';'));
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  std::string type(value);
  std::transform(type.begin(), type.end(), type.begin(), lower);
  return type;
}

std::string_view Request::header(std::string_view name) const {
  return find_header(headers, name);
}

std::string Request::content_type() const {
  return media_type_of(header("content-type"));
}

Response Response::text(unsigned status, std::string_view words) {
  return with_body(status, "text/plain; charset=utf-8", words);
}

Response Response::json(unsigned status, std::string_view document) {
  return with_body(status, "application/json", document);
}

std::string_view Response::header(std::string_view name) const {
  return find_header(headers, name);
}

}  // namespace fleetroot::http
