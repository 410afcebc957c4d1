#include "lib/base/printable.h"

#include <fmt/format.h>

namespace fleetroot {
namespace {

// What a first byte promises (RFC 3629 section 4).
struct Shape {
  std::size_t length;
  unsigned bits;     // of the first byte, that belong to the character
  unsigned minimum;  // a smaller one has a shorter form
};

Shape shape_of(unsigned char first) {
  if (first < 0x80) return {.length = 1, .bits = 0x7f, .minimum = 0};
  if (first >= 0xc0 && first < 0xe0) return {.length = 2, .bits = 0x1f, .minimum = 0x80};
  if (first >= 0xe0 && first < 0xf0) return {.length = 3, .bits = 0x0f, .minimum = 0x800};
  if (first >= 0xf0 && first < 0xf8) return {.length = 4, .bits = 0x07, .minimum = 0x10000};
  return {.length = 0, .bits = 0, .minimum = 0};
}

bool is_shown(unsigned character) {
  bool is_control = character < 0x20 || (character >= 0x7f && character < 0xa0);
  bool is_surrogate = character >= 0xd800 && character < 0xe000;
  return !is_control && !is_surrogate && character <= 0x10ffff;
}

// How many bytes the character in front has, if it is one that may be shown; otherwise 0.
std::size_t shown_length(std::string_view text) {
  Shape shape = shape_of(static_cast<unsigned char>(text.front()));
  if (shape.length == 0 || shape.length > text.size()) return 0;
  unsigned character = static_cast<unsigned char>(text.front()) & shape.bits;
  for (char c : text.substr(1, shape.length - 1)) {
    auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xc0U) != 0x80) return 0;
    character = character << 6 | (byte & 0x3fU);
  }
  return character >= shape.minimum && is_shown(character) ? shape.length : 0;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string shown;
  shown.reserve(text.size());
  while (!text.empty()) {
    std::size_t length = shown_length(text);
    if (length > 0) {
      shown += text.substr(0, length);
    } else {
      shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(text.front()));
      length = 1;
    }
    text.remove_prefix(length);
  }
  return shown;
}

}  // namespace fleetroot
