// A PKCS#11 module that stands in front of another one and writes down who called what and when: how tests
// know that a PIN was tried once, or that nothing was written, and how the benchmark knows when a program
// first touched its token.
//
// WITNESS_MODULE names the module behind it; WITNESS_LOG the file that gets a line "FUNCTION
// CLOCK_MONOTONIC-SECONDS" a call, for the functions below. WITNESS_MODULE_ARGS, where it is set, is what NSS
// wants to be told as it is initialised: programs that have no option for that can read an NSS token through
// this.
//
// WITNESS_PIN_TRIES, where it is set, makes of the token behind it one that counts: it names a file with the
// number of tries left for the user PIN, of three. A wrong PIN takes one, the right one gives them back,
// without any the token is locked, and its flags say how it stands. WITNESS_KILL, as "C_CreateObject 2",
// kills the process before the second of these calls. WITNESS_WRONG_SIGNATURE, as "2", makes the second
// signature of each process a wrong one. WITNESS_ANSWER, as "C_Sign 2 0x32", answers the second of these
// calls in each process with that CK_RV and passes it to nobody, but for a C_Login, which the token judges
// first; "CKA_VALUE 1 0x30" does so for the first read of that attribute, as unavailable. WITNESS_HANG
// names a file: while it is there, no signature comes back, nor does one ever that began then.
// WITNESS_HANG_IN, as "C_CloseSession 2", lets the second of these calls in each process never come back.
// WITNESS_SLOT, as "0xe1", shows one slot more, whose token cannot be read. WITNESS_SLOTS, as
// "0xffffffffffffffff", is how many slots there are said to be. WITNESS_WRITE_PROTECTED, where it is set,
// makes of the token one that gives read-only sessions alone. WITNESS_SESSIONS, as "1", refuses sessions
// beyond so many at a time. WITNESS_UNNUMBERED, where it is set, shows all tokens with the serial number
// 0000000000000000. WITNESS_LONG_FLAG, where it is set, shows CKA_DECRYPT as true, in eight bytes.
// WITNESS_FOUND, as "65", is how many objects are found whenever the next are asked for, whatever the room.
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <optional>
#include <string>

namespace {

CK_FUNCTION_LIST* real = nullptr;
CK_FUNCTION_LIST ours;

void kill_if_due(const std::string& function) {
  static int calls = 0;
  const char* text = std::getenv("WITNESS_KILL");
  if (text == nullptr || !std::string(text).starts_with(function + ' ')) return;
  if (++calls == std::atoi(text + function.size())) raise(SIGKILL);
}

void hang_if_due() {
  const char* path = std::getenv("WITNESS_HANG");
  if (path == nullptr || access(path, F_OK) != 0) return;
  for (;;) pause();
}

void hang_in_if_due(const std::string& function) {
  static int calls = 0;
  const char* text = std::getenv("WITNESS_HANG_IN");
  if (text == nullptr || !std::string(text).starts_with(function + ' ')) return;
  if (++calls != std::atoi(text + function.size())) return;
  for (;;) pause();
}

// What this call is to be answered with instead.
std::optional<CK_RV> other_answer(const std::string& call) {
  static int calls = 0;
  const char* text = std::getenv("WITNESS_ANSWER");
  if (text == nullptr || !std::string(text).starts_with(call + ' ')) return std::nullopt;
  char* rest = nullptr;
  long number = std::strtol(text + call.size(), &rest, 10);
  if (++calls != number) return std::nullopt;
  return std::strtoul(rest, nullptr, 16);
}

void note(const char* function) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const char* path = std::getenv("WITNESS_LOG");
  FILE* file = path == nullptr ? nullptr : std::fopen(path, "a");
  if (file == nullptr) std::abort();
  std::fprintf(file, "%s %ld.%09ld\n", function, now.tv_sec, now.tv_nsec);
  std::fclose(file);
  kill_if_due(function);
}

constexpr int kPinTries = 3;
constexpr CK_SLOT_ID kSlotMore = 99'999;

// Nothing counts them: as many as ever.
int pin_tries_left() {
  int left = kPinTries;
  if (const char* path = std::getenv("WITNESS_PIN_TRIES")) std::ifstream(path) >> left;
  return left;
}

void leave_pin_tries(int left) {
  if (const char* path = std::getenv("WITNESS_PIN_TRIES")) std::ofstream(path) << left << '\n';
}

bool is_write_protected() {
  return std::getenv("WITNESS_WRITE_PROTECTED") != nullptr;
}

CK_RV initialize(void* arguments) {
  note("C_Initialize");
  CK_C_INITIALIZE_ARGS with_ours{};
  if (char* text = std::getenv("WITNESS_MODULE_ARGS")) {
    if (arguments != nullptr) with_ours = *static_cast<CK_C_INITIALIZE_ARGS*>(arguments);
    with_ours.pReserved = text;
    arguments = &with_ours;
  }
  return real->C_Initialize(arguments);
}

int open_sessions = 0;

bool has_no_session_left() {
  const char* text = std::getenv("WITNESS_SESSIONS");
  return text != nullptr && open_sessions >= std::atoi(text);
}

CK_RV finalize(void* reserved) {
  hang_in_if_due("C_Finalize");
  return real->C_Finalize(reserved);
}

CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void* application, CK_NOTIFY notify,
                   CK_SESSION_HANDLE* session) {
  note("C_OpenSession");
  if (std::optional<CK_RV> other = other_answer("C_OpenSession")) return *other;
  if (is_write_protected() && (flags & CKF_RW_SESSION) != 0) return CKR_TOKEN_WRITE_PROTECTED;
  if (has_no_session_left()) return CKR_SESSION_COUNT;
  CK_RV rv = real->C_OpenSession(slot, flags, application, notify, session);
  if (rv == CKR_OK) ++open_sessions;
  return rv;
}

CK_RV close_session(CK_SESSION_HANDLE session) {
  hang_in_if_due("C_CloseSession");
  --open_sessions;
  return real->C_CloseSession(session);
}

CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR* pin, CK_ULONG size) {
  note("C_Login");
  int left = pin_tries_left();
  if (left == 0) return CKR_PIN_LOCKED;
  CK_RV rv = real->C_Login(session, user, pin, size);
  leave_pin_tries(rv == CKR_PIN_INCORRECT ? left - 1 : kPinTries);
  return other_answer("C_Login").value_or(rv);
}

// PKCS#11 2.40 section 3.2, table 9.
CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO* info) {
  const char* slot_more = std::getenv("WITNESS_SLOT");
  if (slot == kSlotMore && slot_more != nullptr) return std::strtoul(slot_more, nullptr, 16);
  CK_RV rv = real->C_GetTokenInfo(slot, info);
  if (rv != CKR_OK) return rv;
  if (is_write_protected()) info->flags |= CKF_WRITE_PROTECTED;
  if (std::getenv("WITNESS_UNNUMBERED") != nullptr) std::ranges::fill(info->serialNumber, '0');
  int left = pin_tries_left();
  if (left == 0) info->flags |= CKF_USER_PIN_LOCKED;
  if (left == 1) info->flags |= CKF_USER_PIN_FINAL_TRY;
  if (left < kPinTries) info->flags |= CKF_USER_PIN_COUNT_LOW;
  return rv;
}

CK_RV generate_key_pair(CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_ATTRIBUTE* public_template,
                        CK_ULONG public_count, CK_ATTRIBUTE* private_template, CK_ULONG private_count,
                        CK_OBJECT_HANDLE* public_key, CK_OBJECT_HANDLE* private_key) {
  note("C_GenerateKeyPair");
  if (std::optional<CK_RV> other = other_answer("C_GenerateKeyPair")) return *other;
  return real->C_GenerateKeyPair(session, mechanism, public_template, public_count, private_template,
                                 private_count, public_key, private_key);
}

CK_RV create_object(CK_SESSION_HANDLE session, CK_ATTRIBUTE* attributes, CK_ULONG count,
                    CK_OBJECT_HANDLE* object) {
  note("C_CreateObject");
  if (std::optional<CK_RV> other = other_answer("C_CreateObject")) return *other;
  return real->C_CreateObject(session, attributes, count, object);
}

CK_RV set_attribute_value(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE* attributes,
                          CK_ULONG count) {
  note("C_SetAttributeValue");
  if (std::optional<CK_RV> other = other_answer("C_SetAttributeValue")) return *other;
  return real->C_SetAttributeValue(session, object, attributes, count);
}

CK_RV destroy_object(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object) {
  note("C_DestroyObject");
  hang_in_if_due("C_DestroyObject");
  if (std::optional<CK_RV> other = other_answer("C_DestroyObject")) return *other;
  return real->C_DestroyObject(session, object);
}

CK_RV sign(CK_SESSION_HANDLE session, CK_BYTE* data, CK_ULONG size, CK_BYTE* signature,
           CK_ULONG* signature_size) {
  note("C_Sign");
  hang_if_due();
  if (std::optional<CK_RV> other = other_answer("C_Sign")) return *other;
  CK_RV rv = real->C_Sign(session, data, size, signature, signature_size);
  static int signatures = 0;
  const char* wrong = std::getenv("WITNESS_WRONG_SIGNATURE");
  if (rv == CKR_OK && signature != nullptr && wrong != nullptr && ++signatures == std::atoi(wrong))
    signature[*signature_size - 1] ^= 1;
  return rv;
}

CK_RV get_attribute_value(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE* attributes,
                          CK_ULONG count) {
  CK_ULONG room = attributes->ulValueLen;
  const char* name = attributes->type == CKA_VALUE      ? "CKA_VALUE"
                     : attributes->type == CKA_EC_POINT ? "CKA_EC_POINT"
                                                        : "another";
  if (std::optional<CK_RV> other = other_answer(name)) {
    attributes->ulValueLen = ~CK_ULONG{0};
    return *other;
  }
  CK_RV rv = real->C_GetAttributeValue(session, object, attributes, count);
  bool has_room = rv == CKR_OK && attributes->pValue != nullptr && room >= sizeof(CK_ULONG);
  if (has_room && attributes->type == CKA_DECRYPT && std::getenv("WITNESS_LONG_FLAG") != nullptr) {
    *static_cast<CK_ULONG*>(attributes->pValue) = CK_TRUE;
    attributes->ulValueLen = sizeof(CK_ULONG);
  }
  return rv;
}

CK_RV find_objects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE* objects, CK_ULONG room, CK_ULONG* count) {
  const char* found = std::getenv("WITNESS_FOUND");
  if (found == nullptr) return real->C_FindObjects(session, objects, room, count);
  *count = std::strtoul(found, nullptr, 10);
  std::fill_n(objects, std::min(room, *count), CK_OBJECT_HANDLE{1});
  return CKR_OK;
}

CK_RV get_slot_list(CK_BBOOL present, CK_SLOT_ID* slots, CK_ULONG* count) {
  if (std::optional<CK_RV> other = other_answer("C_GetSlotList")) return *other;
  if (const char* slots_said = std::getenv("WITNESS_SLOTS")) {
    *count = std::strtoul(slots_said, nullptr, 16);
    return CKR_OK;
  }
  if (std::getenv("WITNESS_SLOT") == nullptr) return real->C_GetSlotList(present, slots, count);
  CK_ULONG behind = *count - (slots == nullptr ? 0 : 1);
  CK_RV rv = real->C_GetSlotList(present, slots, &behind);
  if (rv == CKR_OK && slots != nullptr) slots[behind] = kSlotMore;
  *count = behind + 1;
  return rv;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST** list) {
  if (real == nullptr) {
    const char* path = std::getenv("WITNESS_MODULE");
    void* module = path == nullptr ? nullptr : dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (module == nullptr) return CKR_GENERAL_ERROR;
    auto get_function_list = reinterpret_cast<CK_C_GetFunctionList>(dlsym(module, "C_GetFunctionList"));
    if (get_function_list == nullptr || get_function_list(&real) != CKR_OK) return CKR_GENERAL_ERROR;
    ours = *real;
    ours.C_GetFunctionList = C_GetFunctionList;
    ours.C_Initialize = initialize;
    ours.C_Finalize = finalize;
    ours.C_OpenSession = open_session;
    ours.C_CloseSession = close_session;
    ours.C_GetSlotList = get_slot_list;
    ours.C_GetTokenInfo = get_token_info;
    ours.C_Login = login;
    ours.C_GenerateKeyPair = generate_key_pair;
    ours.C_CreateObject = create_object;
    ours.C_SetAttributeValue = set_attribute_value;
    ours.C_DestroyObject = destroy_object;
    ours.C_GetAttributeValue = get_attribute_value;
    ours.C_FindObjects = find_objects;
    ours.C_Sign = sign;
  }
  *list = &ours;
  return CKR_OK;
}
