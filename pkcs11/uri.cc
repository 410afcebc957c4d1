#include "pkcs11/uri.h"

#include <fmt/format.h>
#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>

#include <algorithm>
#include <array>
#include <set>

#include "lib/base/error.h"
#include "pkcs11/cryptoki.h"

namespace fleetroot::pkcs11 {
namespace {

constexpr std::array<std::string_view, 4> kMatching{"token", "manufacturer", "model", "serial"};
constexpr const char* kExample =
    "write it like pkcs11:token=LABEL?module-path=/path/to/module.so&pin-source=file:pin.txt";

[[noreturn]] void refuse(std::string why, std::string hint = kExample) {
  throw Error(ErrorCode::usage, "the token URI " + why, std::move(hint));
}

struct Attribute {
  std::string_view name;
  std::string_view value;
};

bool is_unreserved(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
         std::string_view("-._~:[]@!$'()*+,=/%&|").find(c) != std::string_view::npos;
}

// RFC 7512 section 2.3: no white space, nothing outside of the grammar, every %XX complete.
void refuse_bad_characters(std::string_view value) {
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (!is_unreserved(value[i])) refuse("has a character that must be written as %XX", kExample);
    if (value[i] == '%') {
      std::optional<Bytes> octet = from_hex(value.substr(i + 1, 2));
      if (!octet || octet->size() != 1) refuse("has a % without two hexadecimal digits behind it");
      if (octet->front() == 0) refuse("has a NUL character in it");
    }
  }
}

std::vector<Attribute> split(std::string_view part, char separator) {
  std::vector<Attribute> attributes;
  if (part.ends_with(separator)) refuse(fmt::format("has a {} with nothing behind it", separator));
  while (!part.empty()) {
    std::size_t end = std::min(part.find(separator), part.size());
    std::string_view item = part.substr(0, end);
    part.remove_prefix(std::min(end + 1, part.size()));
    std::size_t equals = item.find('=');
    if (equals == std::string_view::npos || equals == 0) refuse("has a part that is no name=value");
    refuse_bad_characters(item.substr(equals + 1));
    attributes.push_back({item.substr(0, equals), item.substr(equals + 1)});
  }
  return attributes;
}

std::string percent_decode(std::string_view value) {
  std::string text;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i] == '%') {
      text.push_back(static_cast<char>(from_hex(value.substr(i + 1, 2))->front()));
      i += 2;
    } else {
      text.push_back(value[i]);
    }
  }
  return text;
}

void refuse_secrets(const Attribute& attribute) {
  if (attribute.name == "pin-value") {
    refuse("has a PIN in it (pin-value), where every process of this machine can read it",
           "put the PIN into a file that only you can read, and write pin-source=file:PATH");
  }
  if (attribute.name == "pin-source" && percent_decode(attribute.value).starts_with('|')) {
    refuse("asks to run a command for the PIN", "write pin-source=file:PATH, or use --pin-fd");
  }
}

void refuse_unknown(const Attribute& attribute, bool in_query) {
  bool known =
      attribute.name == "module-path" || (in_query && attribute.name == "pin-source") ||
      (!in_query && std::find(kMatching.begin(), kMatching.end(), attribute.name) != kMatching.end());
  if (!known) {
    refuse(fmt::format("has an attribute that is not used here: {}", attribute.name),
           "use token, serial, manufacturer, model before the ?, module-path and pin-source behind it");
  }
}

struct FreeUri {
  void operator()(P11KitUri* uri) const { p11_kit_uri_free(uri); }
};

// p11-kit decodes what a token must match, with its padding and limits; it knows no module-path in the path
// part, so it is shown the matching attributes only.
void decode_matching(const std::vector<Attribute>& path, Uri& uri) {
  std::string text = "pkcs11:";
  for (const Attribute& attribute : path) {
    if (attribute.name == "module-path") continue;
    if (text.back() != ':') text += ';';
    text += fmt::format("{}={}", attribute.name, attribute.value);
  }
  std::unique_ptr<P11KitUri, FreeUri> parsed(p11_kit_uri_new());
  int result = p11_kit_uri_parse(text.c_str(), P11_KIT_URI_FOR_TOKEN, parsed.get());
  if (result != P11_KIT_URI_OK || p11_kit_uri_any_unrecognized(parsed.get()) != 0) {
    const char* reason = p11_kit_uri_message(result);
    refuse(fmt::format("cannot be read: {}",
                       reason != nullptr ? reason : "a value is longer than a token's can be"));
  }
  const CK_TOKEN_INFO& info = *p11_kit_uri_get_token_info(parsed.get());
  for (const Attribute& attribute : path) {
    if (attribute.name == "token") uri.token = padded_text(info.label, sizeof info.label);
    if (attribute.name == "manufacturer")
      uri.manufacturer = padded_text(info.manufacturerID, sizeof info.manufacturerID);
    if (attribute.name == "model") uri.model = padded_text(info.model, sizeof info.model);
    if (attribute.name == "serial") uri.serial = padded_text(info.serialNumber, sizeof info.serialNumber);
  }
}

}  // namespace

Uri Uri::parse(std::string_view text) {
  constexpr std::string_view kScheme = "pkcs11:";
  if (!text.starts_with(kScheme)) refuse("does not begin with \"pkcs11:\"");
  std::string_view rest = text.substr(kScheme.size());
  std::size_t question = rest.find('?');
  std::vector<Attribute> path = split(rest.substr(0, question), ';');
  std::vector<Attribute> query =
      question == std::string_view::npos ? std::vector<Attribute>{} : split(rest.substr(question + 1), '&');

  std::set<std::string_view> seen;
  auto check = [&](const Attribute& attribute, bool in_query) {
    refuse_secrets(attribute);
    refuse_unknown(attribute, in_query);
    if (!seen.insert(attribute.name).second) refuse(fmt::format("names {} twice", attribute.name));
    if (attribute.value.empty()) refuse(fmt::format("has an empty {}", attribute.name));
  };
  for (const Attribute& attribute : path) check(attribute, false);
  for (const Attribute& attribute : query) check(attribute, true);

  Uri uri;
  decode_matching(path, uri);
  for (const std::vector<Attribute>* part : {&path, &query}) {
    for (const Attribute& attribute : *part) {
      if (attribute.name == "module-path") uri.module_path = percent_decode(attribute.value);
      if (attribute.name == "pin-source") uri.pin_source = percent_decode(attribute.value);
    }
  }
  return uri;
}

std::string Uri::describe() const {
  std::string text;
  auto add = [&](std::string_view name, const std::optional<std::string>& value) {
    if (value) text += fmt::format("{}{}={}", text.empty() ? "" : ", ", name, *value);
  };
  add("token", token);
  add("serial", serial);
  add("manufacturer", manufacturer);
  add("model", model);
  return text.empty() ? "any token" : text;
}

}  // namespace fleetroot::pkcs11
