#include "pkcs11/cryptoki.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

namespace fleetroot::pkcs11 {
namespace {

struct Name {
  CK_RV rv;
  std::string_view text;
};

constexpr std::array kNames{Name{CKR_HOST_MEMORY, "CKR_HOST_MEMORY"},
                            Name{CKR_SLOT_ID_INVALID, "CKR_SLOT_ID_INVALID"},
                            Name{CKR_GENERAL_ERROR, "CKR_GENERAL_ERROR"},
                            Name{CKR_FUNCTION_FAILED, "CKR_FUNCTION_FAILED"},
                            Name{CKR_ARGUMENTS_BAD, "CKR_ARGUMENTS_BAD"},
                            Name{CKR_ATTRIBUTE_READ_ONLY, "CKR_ATTRIBUTE_READ_ONLY"},
                            Name{CKR_ATTRIBUTE_SENSITIVE, "CKR_ATTRIBUTE_SENSITIVE"},
                            Name{CKR_ATTRIBUTE_TYPE_INVALID, "CKR_ATTRIBUTE_TYPE_INVALID"},
                            Name{CKR_ATTRIBUTE_VALUE_INVALID, "CKR_ATTRIBUTE_VALUE_INVALID"},
                            Name{CKR_BUFFER_TOO_SMALL, "CKR_BUFFER_TOO_SMALL"},
                            Name{CKR_DATA_INVALID, "CKR_DATA_INVALID"},
                            Name{CKR_DEVICE_ERROR, "CKR_DEVICE_ERROR"},
                            Name{CKR_DEVICE_MEMORY, "CKR_DEVICE_MEMORY"},
                            Name{CKR_DEVICE_REMOVED, "CKR_DEVICE_REMOVED"},
                            Name{CKR_FUNCTION_NOT_SUPPORTED, "CKR_FUNCTION_NOT_SUPPORTED"},
                            Name{CKR_KEY_HANDLE_INVALID, "CKR_KEY_HANDLE_INVALID"},
                            Name{CKR_MECHANISM_INVALID, "CKR_MECHANISM_INVALID"},
                            Name{CKR_MECHANISM_PARAM_INVALID, "CKR_MECHANISM_PARAM_INVALID"},
                            Name{CKR_OBJECT_HANDLE_INVALID, "CKR_OBJECT_HANDLE_INVALID"},
                            Name{CKR_OPERATION_ACTIVE, "CKR_OPERATION_ACTIVE"},
                            Name{CKR_PIN_INCORRECT, "CKR_PIN_INCORRECT"},
                            Name{CKR_PIN_INVALID, "CKR_PIN_INVALID"},
                            Name{CKR_PIN_LEN_RANGE, "CKR_PIN_LEN_RANGE"},
                            Name{CKR_PIN_EXPIRED, "CKR_PIN_EXPIRED"},
                            Name{CKR_PIN_LOCKED, "CKR_PIN_LOCKED"},
                            Name{CKR_SESSION_CLOSED, "CKR_SESSION_CLOSED"},
                            Name{CKR_SESSION_COUNT, "CKR_SESSION_COUNT"},
                            Name{CKR_SESSION_HANDLE_INVALID, "CKR_SESSION_HANDLE_INVALID"},
                            Name{CKR_SESSION_READ_ONLY, "CKR_SESSION_READ_ONLY"},
                            Name{CKR_TEMPLATE_INCOMPLETE, "CKR_TEMPLATE_INCOMPLETE"},
                            Name{CKR_TEMPLATE_INCONSISTENT, "CKR_TEMPLATE_INCONSISTENT"},
                            Name{CKR_TOKEN_NOT_PRESENT, "CKR_TOKEN_NOT_PRESENT"},
                            Name{CKR_TOKEN_NOT_RECOGNIZED, "CKR_TOKEN_NOT_RECOGNIZED"},
                            Name{CKR_TOKEN_WRITE_PROTECTED, "CKR_TOKEN_WRITE_PROTECTED"},
                            Name{CKR_USER_ALREADY_LOGGED_IN, "CKR_USER_ALREADY_LOGGED_IN"},
                            Name{CKR_USER_NOT_LOGGED_IN, "CKR_USER_NOT_LOGGED_IN"},
                            Name{CKR_USER_PIN_NOT_INITIALIZED, "CKR_USER_PIN_NOT_INITIALIZED"},
                            Name{CKR_CRYPTOKI_NOT_INITIALIZED, "CKR_CRYPTOKI_NOT_INITIALIZED"},
                            Name{CKR_CRYPTOKI_ALREADY_INITIALIZED, "CKR_CRYPTOKI_ALREADY_INITIALIZED"}};

struct Verdict {
  ErrorCode code;
  const char* hint;
};

Verdict verdict_on(CK_RV rv) {
  switch (rv) {
    case CKR_GENERAL_ERROR:
    case CKR_FUNCTION_FAILED:
    case CKR_DEVICE_ERROR:
    case CKR_DEVICE_REMOVED:
    case CKR_OBJECT_HANDLE_INVALID:
    case CKR_KEY_HANDLE_INVALID:
    case CKR_SESSION_CLOSED:
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_SLOT_ID_INVALID:
    case CKR_CRYPTOKI_NOT_INITIALIZED:
    case CKR_USER_NOT_LOGGED_IN:  // we were: a card that is reset forgets it
    case CKR_OPERATION_ACTIVE:    // one that failed: the next run's session has none
      return {ErrorCode::token_unplugged,
              "check that the token is plugged in and has room, then run the same command again: it resumes"};
    case CKR_DEVICE_MEMORY:
      return {ErrorCode::token_full, "remove what does not belong on the token, or use another one"};
    case CKR_SESSION_COUNT:
      return {ErrorCode::token_busy,
              "close the other program that uses the token, then run the same command again"};
    case CKR_PIN_INCORRECT:
    case CKR_PIN_INVALID:
    case CKR_PIN_LEN_RANGE:
      return {ErrorCode::pin_wrong, "check the PIN source before the next try: every wrong PIN costs one"};
    case CKR_PIN_LOCKED:
    case CKR_PIN_EXPIRED:
      return {ErrorCode::pin_locked, "the security officer must set a new PIN"};
    case CKR_USER_PIN_NOT_INITIALIZED:
    case CKR_TOKEN_NOT_RECOGNIZED:
      return {ErrorCode::token_uninitialised, "initialise the token and its user PIN first"};
    case CKR_SESSION_READ_ONLY:  // as which a write-protected token's is opened
    case CKR_TOKEN_WRITE_PROTECTED:
      return {ErrorCode::token_failed, "the token is write-protected: use another one"};
    default:
      return {ErrorCode::token_failed, "hold this device; run inspect and keep the message"};
  }
}

}  // namespace

std::string ckr_name(CK_RV rv) {
  for (const Name& name : kNames) {
    if (name.rv == rv) return std::string(name.text);
  }
  return fmt::format("CKR 0x{:x}", rv);
}

Error cryptoki_error(CK_RV rv, std::string_view doing) {
  Verdict verdict = verdict_on(rv);
  return {verdict.code, fmt::format("the token failed to {}", doing), verdict.hint, ckr_name(rv)};
}

std::string padded_text(const unsigned char* field, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(field), size);
  text = text.substr(0, text.find('\0'));
  while (text.ends_with(' ')) text.remove_suffix(1);
  return std::string(text);
}

Template& Template::add(CK_ATTRIBUTE_TYPE type, BytesView value) {
  Bytes& stored = values_.emplace_back(value.begin(), value.end());
  attributes_.push_back({type, stored.data(), stored.size()});
  return *this;
}

Template& Template::add(CK_ATTRIBUTE_TYPE type, bool value) {
  std::uint8_t flag = value ? CK_TRUE : CK_FALSE;
  return add(type, BytesView(&flag, 1));
}

Template& Template::add_number(CK_ATTRIBUTE_TYPE type, CK_ULONG value) {
  Bytes octets(sizeof value);
  std::memcpy(octets.data(), &value, sizeof value);
  return add(type, octets);
}

}  // namespace fleetroot::pkcs11
