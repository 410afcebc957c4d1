#include "pkcs11/module.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <libp11.h>
#include <openssl/err.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "lib/x509/openssl.h"
#include "pkcs11/cryptoki.h"
#include "pkcs11/softhsm.h"

namespace fleetroot::pkcs11 {
namespace {

// No machine has so many.
constexpr CK_ULONG kMaximumSlots = 10'000;

struct CloseLibrary {
  void operator()(void* library) const { dlclose(library); }
};

using ContextPtr = std::unique_ptr<PKCS11_CTX, FreeWith<PKCS11_CTX_free>>;

[[noreturn]] void does_not_initialise(const std::string& path, CK_RV rv) {
  // SoftHSM says no more than CKR_GENERAL_ERROR when it finds no configuration or no token directory.
  throw Error(ErrorCode::module_unusable, fmt::format("the PKCS#11 module {} does not initialise", path),
              is_softhsm(path)
                  ? "check the file that SOFTHSM2_CONF names, and the token directory that it names"
                  : "check the module's own configuration, and what its manual wants of the system",
              ckr_name(rv));
}

// libp11 puts what the module answered into OpenSSL's queue, behind whatever the module itself has left
// there.
std::optional<CK_RV> last_answer() {
  unsigned long last = ERR_peek_last_error();
  if (last == 0 || ERR_GET_LIB(last) != ERR_get_CKR_code()) return std::nullopt;
  return static_cast<CK_RV>(ERR_GET_REASON(last));
}

[[noreturn]] void unusable(const std::string& path, std::string_view why, std::string cause = {}) {
  throw Error(ErrorCode::module_unusable, fmt::format("the PKCS#11 module {} {}", path, why),
              "check module-path in the token URI", std::move(cause));
}

TokenInfo token_info(CK_SLOT_ID slot_id, const CK_TOKEN_INFO& raw) {
  return {.slot_id = slot_id,
          .label = padded_text(raw.label, sizeof raw.label),
          .manufacturer = padded_text(raw.manufacturerID, sizeof raw.manufacturerID),
          .model = padded_text(raw.model, sizeof raw.model),
          .serial = padded_text(raw.serialNumber, sizeof raw.serialNumber),
          .firmware = fmt::format("{}.{}", raw.firmwareVersion.major, raw.firmwareVersion.minor),
          .is_initialised = (raw.flags & CKF_TOKEN_INITIALIZED) != 0,
          .has_user_pin = (raw.flags & CKF_USER_PIN_INITIALIZED) != 0,
          .is_write_protected = (raw.flags & CKF_WRITE_PROTECTED) != 0,
          .user_pin_final_try = (raw.flags & CKF_USER_PIN_FINAL_TRY) != 0,
          .user_pin_locked = (raw.flags & CKF_USER_PIN_LOCKED) != 0};
}

TokenInfo read_token_info(const CK_FUNCTION_LIST& functions, CK_SLOT_ID slot_id) {
  CK_TOKEN_INFO raw{};
  check(functions.C_GetTokenInfo(slot_id, &raw), "show its token information");
  return token_info(slot_id, raw);
}

// Counted again where a token was plugged in after the count.
std::vector<CK_SLOT_ID> occupied_slots(const CK_FUNCTION_LIST& functions) {
  constexpr int kTries = 20;
  std::vector<CK_SLOT_ID> slots;
  CK_RV rv = CKR_BUFFER_TOO_SMALL;
  for (int tries = 0; rv == CKR_BUFFER_TOO_SMALL && tries < kTries; ++tries) {
    CK_ULONG count = 0;
    check(functions.C_GetSlotList(CK_TRUE, nullptr, &count), "list its slots");
    if (count > kMaximumSlots) {
      throw Error(ErrorCode::token_untrusted, fmt::format("the module says that it has {} slots", count),
                  "replace the token, or its module");
    }
    slots.resize(count);
    rv = functions.C_GetSlotList(CK_TRUE, slots.data(), &count);
    slots.resize(std::min<std::size_t>(count, slots.size()));
  }
  check(rv, "list its slots");
  return slots;
}

// In the next bay a token may be pulled out after the list was made, be unreadable for the moment in which
// SoftHSM writes another process's login to its file, or be broken. None must disturb who looks for another
// token.
std::optional<TokenInfo> read_if_present(const CK_FUNCTION_LIST& functions, CK_SLOT_ID slot_id) {
  constexpr int kTries = 20;
  constexpr std::chrono::milliseconds kPause{10};
  for (int tries = 1;; ++tries) {
    CK_TOKEN_INFO raw{};
    CK_RV rv = functions.C_GetTokenInfo(slot_id, &raw);
    if (rv == CKR_OK) return token_info(slot_id, raw);
    bool has_gone = rv == CKR_TOKEN_NOT_PRESENT || rv == CKR_DEVICE_REMOVED || rv == CKR_SLOT_ID_INVALID;
    if (has_gone || tries == kTries) return std::nullopt;
    std::this_thread::sleep_for(kPause);
  }
}

const ModuleProfile& behind(const ModuleProfile& client, const std::string& path, const std::string& remote) {
  const ModuleProfile& profile = remote_profile(remote);
  if (leads_elsewhere(client)) return profile;
  throw Error(ErrorCode::module_unusable,
              fmt::format("the PKCS#11 module {} is {}, which leads to no other module", path, client.name),
              "leave out which one it leads to (--remote-module, or remote_module in station.toml)");
}

}  // namespace

bool TokenInfo::matches(const Uri& uri) const {
  auto same = [](const std::optional<std::string>& wanted, const std::string& have) {
    return !wanted || *wanted == have;
  };
  return same(uri.token, label) && same(uri.serial, serial) && same(uri.manufacturer, manufacturer) &&
         same(uri.model, model);
}

std::string TokenInfo::describe() const {
  return fmt::format("{} (serial {})", label.empty() ? "a token without a label" : label, serial);
}

// Finalises and unloads, also where the constructor of Module gives up half-way.
struct Module::State {
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (must_finalise) functions->C_Finalize(nullptr);
    if (is_loaded) PKCS11_CTX_unload(context.get());
  }

  // libp11 keeps a pointer to it.
  std::string init_args;
  ContextPtr context;
  std::unique_ptr<void, CloseLibrary> library;
  CK_FUNCTION_LIST* functions = nullptr;
  const ModuleProfile* profile = nullptr;
  bool is_loaded = false;
  bool must_finalise = false;
};

Module::Module(const std::string& path, const ModuleOptions& options) : state_(std::make_unique<State>()) {
  const std::string& init_args = state_->init_args = options.init_args;
  if (access(path.c_str(), R_OK) != 0) unusable(path, "is not there or cannot be read");
  state_->context.reset(PKCS11_CTX_new());
  if (!init_args.empty()) PKCS11_CTX_init_args(state_->context.get(), init_args.c_str());
  ERR_clear_error();
  if (PKCS11_CTX_load(state_->context.get(), path.c_str()) != 0) {
    std::optional<CK_RV> answer = last_answer();
    std::string cause = take_openssl_errors();
    if (answer) does_not_initialise(path, *answer);
    unusable(path, "is no PKCS#11 module", std::move(cause));
  }
  state_->is_loaded = true;

  // The same function list that libp11 has; for p11-kit-client a second, separate one, which is why it is
  // initialised here as well and why nothing but loading is left to libp11.
  state_->library.reset(dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD));
  auto get_function_list =
      state_->library
          ? reinterpret_cast<CK_C_GetFunctionList>(dlsym(state_->library.get(), "C_GetFunctionList"))
          : nullptr;
  if (get_function_list == nullptr || get_function_list(&state_->functions) != CKR_OK) {
    unusable(path, "does not give its functions");
  }
  CK_C_INITIALIZE_ARGS arguments{};
  arguments.flags = CKF_OS_LOCKING_OK;
  arguments.pReserved = init_args.empty() ? nullptr : state_->init_args.data();
  CK_RV rv = state_->functions->C_Initialize(&arguments);
  if (rv != CKR_OK && rv != CKR_CRYPTOKI_ALREADY_INITIALIZED) does_not_initialise(path, rv);
  state_->must_finalise = rv == CKR_OK;

  CK_INFO info{};
  check(state_->functions->C_GetInfo(&info), "describe its module");
  state_->profile = &profile_of(padded_text(info.manufacturerID, sizeof info.manufacturerID),
                                padded_text(info.libraryDescription, sizeof info.libraryDescription));
  if (!options.remote.empty()) state_->profile = &behind(*state_->profile, path, options.remote);
  // SoftHSM looks for an engine that few systems have, and leaves in OpenSSL's queue that it is not there: no
  // cause of what is refused later.
  ERR_clear_error();
}

Module::~Module() = default;

const CK_FUNCTION_LIST& Module::functions() const {
  return *state_->functions;
}

const ModuleProfile& Module::profile() const {
  return *state_->profile;
}

std::vector<TokenInfo> Module::tokens() const {
  std::vector<TokenInfo> tokens;
  for (CK_SLOT_ID slot : occupied_slots(functions())) {
    if (std::optional<TokenInfo> token = read_if_present(functions(), slot))
      tokens.push_back(*std::move(token));
  }
  return tokens;
}

TokenInfo Module::token_in(unsigned long slot_id) const {
  return read_token_info(functions(), slot_id);
}

TokenInfo Module::find_token(const Uri& uri) const {
  std::vector<TokenInfo> all = tokens();
  std::vector<TokenInfo> found;
  std::string present;
  std::string matching;
  auto list = [](std::string& text, const TokenInfo& token) {
    text += fmt::format("{}{}", text.empty() ? "" : ", ", token.describe());
  };
  bool has_uninitialised = false;
  for (const TokenInfo& token : all) {
    if (!token.is_initialised) {
      has_uninitialised = true;
      continue;
    }
    list(present, token);
    if (!token.matches(uri)) continue;
    list(matching, token);
    found.push_back(token);
  }
  if (found.size() > 1) {
    throw Error(
        ErrorCode::token_ambiguous,
        fmt::format("{} tokens match {}: {}", found.size(), uri.describe(), matching),
        fmt::format("add {}=… to the token URI, so that it names one", uri.serial ? "token" : "serial"));
  }
  if (found.empty() && present.empty() && has_uninitialised) {
    throw Error(ErrorCode::token_uninitialised,
                fmt::format("no initialised token matches {}: one is present that is not initialised",
                            uri.describe()),
                "initialise it and its user PIN first (with its vendor's tool)");
  }
  if (found.empty()) {
    if (has_uninitialised) present += ", and one that is not initialised";
    throw Error(ErrorCode::token_absent, fmt::format("no token matches {}", uri.describe()),
                "plug it in, or correct the token URI, then run the same command again",
                present.empty() ? "no token is present" : "present: " + present);
  }
  if (!found.front().has_user_pin) {
    throw Error(ErrorCode::token_uninitialised,
                fmt::format("the token {} has no user PIN yet", found.front().describe()),
                "set its user PIN first (with its vendor's tool)");
  }
  return found.front();
}

}  // namespace fleetroot::pkcs11
