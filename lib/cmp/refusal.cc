#include "lib/cmp/refusal.h"

#include <algorithm>
#include <array>

namespace fleetroot::cmp {
namespace {

constexpr std::string_view kSentenceEnd = ". ";
constexpr std::string_view kCodeBegin = " [";
constexpr char kCodeEnd = ']';
constexpr char kEscape = '\\';

// `separator` is what the text must not contain bare; empty if it may contain anything.
std::string escape(std::string_view text, std::string_view separator) {
  std::string escaped;
  for (std::size_t i = 0; i < text.size(); ++i) {
    bool is_separator = !separator.empty() && text.substr(i).starts_with(separator);
    if (text[i] == kEscape || is_separator) escaped.push_back(kEscape);
    if (text[i] == '\0') {
      escaped += "\\0";
    } else {
      escaped.push_back(text[i]);
    }
  }
  return escaped;
}

std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    bool is_escaped = text[i] == kEscape && i + 1 < text.size();
    if (is_escaped) ++i;
    plain.push_back(is_escaped && text[i] == '0' ? '\0' : text[i]);
  }
  return plain;
}

// Where the first ". " begins that no escape stands before.
std::size_t find_sentence_end(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == kEscape) {
      ++i;
    } else if (text.substr(i).starts_with(kSentenceEnd)) {
      return i;
    }
  }
  return std::string_view::npos;
}

bool is_code_name(std::string_view text) {
  return !text.empty() && text.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") == std::string_view::npos;
}

}  // namespace

bool is_about_the_ca(ErrorCode code) {
  static constexpr std::array kCodes{ErrorCode::clock, ErrorCode::io, ErrorCode::cannot_create,
                                     ErrorCode::configuration, ErrorCode::module_unusable};
  return std::find(kCodes.begin(), kCodes.end(), code) != kCodes.end();
}

std::string encode_refusal(const Error& error) {
  std::string text = escape(error.message(), kSentenceEnd);
  text += kSentenceEnd;
  text += escape(error.hint(), {});
  text += kCodeBegin;
  text += name_of(error.code());
  text += kCodeEnd;
  return text;
}

Error decode_refusal(const std::string& text) {
  std::string_view rest = text;
  std::size_t code_begin = rest.rfind(kCodeBegin);
  std::size_t sentence_end = find_sentence_end(rest);
  if (code_begin != std::string_view::npos && sentence_end != std::string_view::npos &&
      sentence_end + kSentenceEnd.size() <= code_begin && rest.ends_with(kCodeEnd)) {
    std::string_view code = rest.substr(code_begin + kCodeBegin.size());
    code.remove_suffix(1);
    if (is_code_name(code)) {
      std::size_t hint_begin = sentence_end + kSentenceEnd.size();
      return {error_code_from_name(code), unescape(rest.substr(0, sentence_end)),
              unescape(rest.substr(hint_begin, code_begin - hint_begin))};
    }
  }
  return {ErrorCode::refused_by_ca, text.empty() ? "the CA refused without a word" : text,
          "ask whoever runs the CA what it logged"};
}

}  // namespace fleetroot::cmp
