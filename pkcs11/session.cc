#include "pkcs11/session.h"

#include <fmt/format.h>

#include <array>
#include <tuple>

#include "pkcs11/cryptoki.h"

namespace fleetroot::pkcs11 {
namespace {

// No token has room for so many.
constexpr std::size_t kMaximumObjects = 10'000;

[[noreturn]] void refuse_finding(std::string_view what) {
  throw Error(ErrorCode::token_untrusted, fmt::format("the token says that it has found {}", what),
              "replace the token");
}

}  // namespace

Session::Session(const Module& module, TokenInfo token) : module_(module), token_(std::move(token)) {
  TokenInfo now = module_.token_in(token_.slot_id);
  auto identity = [](const TokenInfo& info) {
    return std::tie(info.manufacturer, info.model, info.serial, info.label);
  };
  if (identity(now) != identity(token_)) {
    throw Error(ErrorCode::token_unplugged, fmt::format("another token sits where {} was", token_.describe()),
                "plug the right token in and run the same command again");
  }
  CK_FLAGS flags = CKF_SERIAL_SESSION | (now.is_write_protected ? 0 : CKF_RW_SESSION);
  check(module_.functions().C_OpenSession(token_.slot_id, flags, nullptr, nullptr, &handle_),
        "open a session");
}

Session::~Session() {
  module_.functions().C_CloseSession(handle_);
}

void Session::log_in(const Pin& pin) {
  TokenInfo now = module_.token_in(token_.slot_id);
  if (now.user_pin_locked) {
    throw Error(ErrorCode::pin_locked, fmt::format("the PIN of the token {} is locked", now.describe()),
                "the security officer must set a new PIN");
  }
  if (now.user_pin_final_try) {
    throw Error(ErrorCode::pin_locked,
                fmt::format("the token {} has one PIN try left, which is never spent here", now.describe()),
                "log in once with the right PIN by the token vendor's tool, which resets the counter");
  }
  // Cryptoki takes a pointer to non-const. No copy: that would lie in memory that may be swapped out.
  auto* text = reinterpret_cast<CK_BYTE*>(const_cast<char*>(pin.view().data()));
  CK_RV rv = module_.functions().C_Login(handle_, CKU_USER, text, pin.view().size());
  if (rv == CKR_USER_ALREADY_LOGGED_IN) return;
  if (rv == CKR_PIN_INCORRECT) {
    throw Error(ErrorCode::pin_wrong, fmt::format("the PIN for the token {} is wrong", token_.describe()),
                "check the PIN source before the next try: every wrong PIN costs one", ckr_name(rv));
  }
  check(rv, "log in");
}

std::vector<ObjectHandle> Session::find(Template& wanted) const {
  const CK_FUNCTION_LIST& functions = module_.functions();
  check(functions.C_FindObjectsInit(handle_, wanted.data(), wanted.size()), "search its objects");
  std::vector<ObjectHandle> found;
  std::array<CK_OBJECT_HANDLE, 64> batch{};
  CK_ULONG count = 0;
  CK_RV rv = CKR_OK;
  do {
    rv = functions.C_FindObjects(handle_, batch.data(), batch.size(), &count);
    if (rv != CKR_OK || count > batch.size()) break;
    found.insert(found.end(), batch.begin(), batch.begin() + static_cast<std::ptrdiff_t>(count));
  } while (count > 0 && found.size() <= kMaximumObjects);
  functions.C_FindObjectsFinal(handle_);
  check(rv, "search its objects");
  if (count > batch.size()) refuse_finding("more objects than it was asked for");
  if (found.size() > kMaximumObjects) refuse_finding(fmt::format("more than {} objects", kMaximumObjects));
  return found;
}

void Session::destroy(ObjectHandle object) const {
  check(module_.functions().C_DestroyObject(handle_, object), "delete an object");
}

}  // namespace fleetroot::pkcs11
