// A PKCS#11 module that forwards to another one and notes when it was first used: how long a program takes
// from its start to its first token operation, measured from outside of it and without slowing it down.
//
// BENCH_MODULE names the module behind it, BENCH_TIMES the file that gets one line
// "FUNCTION CLOCK_MONOTONIC-SECONDS" for the first call of each of C_Initialize, C_OpenSession and C_Login.
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace {

CK_FUNCTION_LIST* real = nullptr;
CK_FUNCTION_LIST ours;

void note(const char* function, bool& noted) {
  if (noted) return;
  noted = true;
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const char* path = std::getenv("BENCH_TIMES");
  FILE* file = path == nullptr ? nullptr : std::fopen(path, "a");
  if (file == nullptr) std::abort();
  std::fprintf(file, "%s %ld.%09ld\n", function, now.tv_sec, now.tv_nsec);
  std::fclose(file);
}

CK_RV initialize(void* arguments) {
  static bool noted = false;
  note("C_Initialize", noted);
  return real->C_Initialize(arguments);
}

CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void* application, CK_NOTIFY notify,
                   CK_SESSION_HANDLE* session) {
  static bool noted = false;
  note("C_OpenSession", noted);
  return real->C_OpenSession(slot, flags, application, notify, session);
}

CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR* pin, CK_ULONG size) {
  static bool noted = false;
  note("C_Login", noted);
  return real->C_Login(session, user, pin, size);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST** list) {
  if (real == nullptr) {
    const char* path = std::getenv("BENCH_MODULE");
    void* module = path == nullptr ? nullptr : dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (module == nullptr) return CKR_GENERAL_ERROR;
    auto get_function_list = reinterpret_cast<CK_C_GetFunctionList>(dlsym(module, "C_GetFunctionList"));
    if (get_function_list == nullptr || get_function_list(&real) != CKR_OK) return CKR_GENERAL_ERROR;
    ours = *real;
    ours.C_GetFunctionList = C_GetFunctionList;
    ours.C_Initialize = initialize;
    ours.C_OpenSession = open_session;
    ours.C_Login = login;
  }
  *list = &ours;
  return CKR_OK;
}
