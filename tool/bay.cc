#include "tool/bay.h"

#include <fmt/format.h>

#include <set>

namespace fleetroot::station {
namespace {

constexpr std::string_view kPlaceholder = "{device_id}";

// For a value in a URI; a slash may stay.
std::string percent_encoded(std::string_view text) {
  constexpr std::string_view kUnreserved =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
  std::string encoded;
  for (char c : text) {
    if (kUnreserved.find(c) != std::string_view::npos) {
      encoded += c;
    } else {
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

std::string filled(std::string text, const DeviceId& device_id) {
  std::string value = percent_encoded(device_id.text());
  for (std::size_t at = text.find(kPlaceholder); at != std::string::npos;
       at = text.find(kPlaceholder, at + value.size())) {
    text.replace(at, kPlaceholder.size(), value);
  }
  return text;
}

bool is_relative_file(std::string_view pin_source) {
  if (pin_source.starts_with("credential:")) return false;
  if (pin_source.starts_with("file:")) pin_source.remove_prefix(5);
  return !pin_source.starts_with('/');
}

// `text` has been parsed: its query names one pin-source.
std::string with_pin_source_below(std::string text, const std::filesystem::path& base) {
  constexpr std::string_view kName = "pin-source=";
  std::size_t at = text.find(kName, text.find('?')) + kName.size();
  if (std::string_view(text).substr(at).starts_with("file:")) at += 5;
  return text.insert(at, percent_encoded((base / "").string()));
}

}  // namespace

void refuse_unless_unattended(const pkcs11::Uri& uri, std::string_view whose, ErrorCode code) {
  constexpr const char* kHint =
      "put the PIN into a file that only you can read, and add pin-source=file:PATH";
  if (!uri.pin_source) {
    throw Error(code,
                fmt::format("{} token has no pin-source, and nobody types PINs on a running line", whose),
                kHint);
  }
  if (uri.pin_source->starts_with("env:")) {
    throw Error(
        code,
        fmt::format("{} token has its PIN in the environment, which every device's process would inherit",
                    whose),
        kHint);
  }
}

TokenTemplate TokenTemplate::parse(std::string_view text, const std::filesystem::path& base,
                                   std::string_view whose) {
  pkcs11::Uri uri = pkcs11::Uri::parse(filled(std::string(text), DeviceId::parse("D")));
  refuse_unless_unattended(uri, whose, ErrorCode::usage);
  bool is_below_base = !base.empty() && is_relative_file(*uri.pin_source);
  return TokenTemplate(is_below_base ? with_pin_source_below(std::string(text), base) : std::string(text));
}

bool TokenTemplate::names_device() const {
  return text_.find(kPlaceholder) != std::string::npos;
}

std::string TokenTemplate::uri_for(const DeviceId& device_id) const {
  std::string uri = filled(text_, device_id);
  pkcs11::Uri::parse(uri);
  return uri;
}

Bay Bay::parse(std::string_view text) {
  std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || !text.substr(equals + 1).starts_with("pkcs11:")) {
    throw Error(ErrorCode::usage, fmt::format("\"{}\" is no bay", text.substr(0, equals)),
                "write it like --bay 'NAME=pkcs11:token=LABEL?module-path=…&pin-source=file:PATH'");
  }
  return {.name = BayName::parse(text.substr(0, equals)),
          .token = TokenTemplate::parse(text.substr(equals + 1))};
}

void refuse_double_names(const std::vector<Bay>& bays, ErrorCode code) {
  std::set<BayName> names;
  for (const Bay& bay : bays) {
    if (names.insert(bay.name).second) continue;
    throw Error(code, fmt::format("there are two bays with the name {}", bay.name.text()),
                "give each bay a name of its own");
  }
}

}  // namespace fleetroot::station
