#include "pkcs11/softhsm.h"

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <cstring>

#include "lib/base/files.h"
#include "lib/base/secret.h"
#include "lib/x509/openssl.h"
#include "pkcs11/cryptoki.h"
#include "pkcs11/module.h"
#include "pkcs11/signing_key.h"

namespace fleetroot::pkcs11 {
namespace {

namespace fs = std::filesystem;

constexpr std::array kModulePaths{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so",
                                  "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
                                  "/usr/local/lib/softhsm/libsofthsm2.so"};

std::string find_softhsm() {
  for (const char* path : kModulePaths) {
    if (fs::exists(path)) return path;
  }
  throw Error(ErrorCode::configuration, "SoftHSM is not installed, and no other token was named",
              "install the package softhsm2, or name a token with its PKCS#11 URI");
}

fs::path token_directory(const fs::path& directory) {
  return fs::absolute(directory) / "tokens";
}

// SoftHSM reads a line of 1023 bytes, ends it at a comment sign and the value at a second equals sign: beyond
// that it would take another directory for this one.
void refuse_unless_configurable(const fs::path& tokens) {
  constexpr std::size_t kMaximum = 990;
  std::string text = tokens.string();
  if (text.size() <= kMaximum && text.find_first_of("#=\r\n") == std::string::npos) return;
  throw Error(ErrorCode::configuration, fmt::format("SoftHSM cannot keep tokens in {}", text),
              fmt::format("choose a path without \"#\", \"=\" and line ends, of {} bytes at most", kMaximum));
}

// The configuration names the token directory by its absolute path, so it is made anew when a home has moved.
void write_configuration(const fs::path& directory) {
  fs::path tokens = token_directory(directory);
  refuse_unless_configurable(tokens);
  std::string content = fmt::format(
      "# Made by Fleetroot.\ndirectories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n"
      "slots.removable = false\n",
      tokens.string());
  fs::path file = directory / "softhsm2.conf";
  if (read_file_if_present(file) != content) write_file(file, content, 0600);
}

// 128 bits, in characters that no tool and no person mistakes.
Secret random_pin() {
  Bytes random = random_bytes(16);
  std::string text = to_hex(random);
  Secret pin(text);
  wipe(random.data(), random.size());
  wipe(text.data(), text.size());
  return pin;
}

CK_BYTE* cryptoki_text(const Secret& secret) {
  return reinterpret_cast<CK_BYTE*>(const_cast<char*>(secret.view().data()));
}

// SoftHSM shows one slot with an uninitialised token; initialising it moves it to a slot of its own.
unsigned long uninitialised_slot(const Module& module) {
  for (const TokenInfo& token : module.tokens()) {
    if (!token.is_initialised) return token.slot_id;
  }
  throw Error(ErrorCode::token_absent, "SoftHSM shows no free slot", "check the SoftHSM directory");
}

// Initialises a token and its user PIN. The security officer's PIN is as random as the user's and kept
// nowhere: a token of ours is replaced, never unlocked.
std::string initialise_token(const Module& module, const std::string& label, const Secret& user_pin) {
  const CK_FUNCTION_LIST& functions = module.functions();
  std::array<unsigned char, 32> padded{};
  padded.fill(' ');
  std::memcpy(padded.data(), label.data(), std::min(label.size(), padded.size()));
  Secret officer_pin = random_pin();
  check(functions.C_InitToken(uninitialised_slot(module), cryptoki_text(officer_pin), officer_pin.size(),
                              padded.data()),
        "initialise itself");
  Uri wanted;
  wanted.token = padded_text(padded.data(), padded.size());
  for (const TokenInfo& token : module.tokens()) {
    if (!token.is_initialised || !token.matches(wanted) || token.has_user_pin) continue;
    CK_SESSION_HANDLE session = 0;
    check(functions.C_OpenSession(token.slot_id, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr,
                                  &session),
          "open a session");
    check(functions.C_Login(session, CKU_SO, cryptoki_text(officer_pin), officer_pin.size()),
          "log in as security officer");
    check(functions.C_InitPIN(session, cryptoki_text(user_pin), user_pin.size()), "set its user PIN");
    check(functions.C_CloseSession(session), "close a session");
    return token.serial;
  }
  throw Error(ErrorCode::token_absent, "SoftHSM does not show the token that it has just initialised",
              "check the SoftHSM directory");
}

// For SoftHsmOpening.
void keep_token_objects(const fs::path& directory) {
  fs::path kept = directory / "token-objects";
  if (!fs::exists(kept)) make_private_directory(kept);
  for (const fs::directory_entry& token : fs::directory_iterator(directory / "tokens")) {
    fs::path copy = kept / token.path().filename();
    if (!fs::exists(copy)) write_file(copy, read_file(token.path() / "token.object"), 0600);
  }
}

}  // namespace

void refuse_unless_softhsm_fits(const fs::path& directory) {
  refuse_unless_configurable(token_directory(directory));
  find_softhsm();
}

void select_softhsm_directory(const fs::path& directory) {
  write_configuration(directory);
  setenv("SOFTHSM2_CONF", (fs::absolute(directory) / "softhsm2.conf").c_str(), 1);
}

SoftHsmOpening::SoftHsmOpening(const fs::path& directory) : lock_(lock_file(directory / "opening.lock")) {
  fs::path kept = directory / "token-objects";
  if (!fs::exists(kept)) return;
  for (const fs::directory_entry& copy : fs::directory_iterator(kept)) {
    fs::path object = directory / "tokens" / copy.path().filename() / "token.object";
    std::error_code absent;
    if (fs::file_size(object, absent) == 0 && !absent) {
      write_file(object, read_file(copy.path()), 0600);
    }
  }
}

bool is_softhsm(const std::string& module_path) {
  return fs::path(module_path).filename().string().find("softhsm") != std::string::npos;
}

void sync_softhsm_directory(const fs::path& directory) {
  sync_tree(directory);
}

TokenSettings create_softhsm_token(const fs::path& home, const fs::path& directory, const std::string& label,
                                   const fs::path& pin_file) {
  refuse_unless_configurable(token_directory(directory));
  std::string module_path = find_softhsm();
  if (!fs::exists(directory)) {
    make_private_directory(directory);
    make_private_directory(directory / "tokens");
  }
  select_softhsm_directory(directory);
  Secret pin = random_pin();
  write_file(pin_file, pin.view(), 0600);
  std::string serial;
  {
    Module module(module_path);
    serial = initialise_token(module, label, pin);
  }
  keep_token_objects(directory);
  sync_softhsm_directory(directory);
  return {.uri = fmt::format("pkcs11:serial={}?module-path={}&pin-source=file:{}", serial, module_path,
                             fs::relative(pin_file, home).string()),
          .home = home,
          .softhsm_directory = directory,
          .init_args = {}};
}

}  // namespace fleetroot::pkcs11
