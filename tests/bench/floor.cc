// What one device costs the token itself: login, P-256 key generation, three signatures, a certificate object
// written, and read back in a new session, by raw Cryptoki in a fresh process. No libp11, no OpenSSL, no
// journal, no CA. And what it costs the token of whoever else signs for it.
//
//   floor device MODULE TOKEN-LABEL PIN-FILE
//   floor signer MODULE TOKEN-LABEL PIN-FILE     login, two signatures with the key that is there
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

void check(CK_RV result, const char* call) {
  if (result == CKR_OK) return;
  char text[64];
  std::snprintf(text, sizeof text, "%s: 0x%lx", call, result);
  throw std::runtime_error(text);
}

CK_FUNCTION_LIST* load(const char* path) {
  void* module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) throw std::runtime_error(dlerror());
  auto get_function_list = reinterpret_cast<CK_C_GetFunctionList>(dlsym(module, "C_GetFunctionList"));
  if (get_function_list == nullptr) throw std::runtime_error("no C_GetFunctionList");
  CK_FUNCTION_LIST* functions = nullptr;
  check(get_function_list(&functions), "C_GetFunctionList");
  return functions;
}

std::string read_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  if (line.empty()) throw std::runtime_error(std::string("nothing in ") + path);
  return line;
}

CK_SLOT_ID find_slot(CK_FUNCTION_LIST* p11, const std::string& label) {
  CK_ULONG count = 0;
  check(p11->C_GetSlotList(CK_TRUE, nullptr, &count), "C_GetSlotList");
  std::vector<CK_SLOT_ID> slots(count);
  check(p11->C_GetSlotList(CK_TRUE, slots.data(), &count), "C_GetSlotList");
  for (CK_SLOT_ID slot : slots) {
    CK_TOKEN_INFO info;
    check(p11->C_GetTokenInfo(slot, &info), "C_GetTokenInfo");
    std::string text(reinterpret_cast<char*>(info.label), sizeof info.label);
    if (text.substr(0, text.find_last_not_of(' ') + 1) == label) return slot;
  }
  throw std::runtime_error("no token " + label);
}

CK_SESSION_HANDLE open_session(CK_FUNCTION_LIST* p11, CK_SLOT_ID slot) {
  CK_SESSION_HANDLE session = 0;
  check(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session),
        "C_OpenSession");
  return session;
}

CK_BBOOL yes = CK_TRUE;
CK_BBOOL no = CK_FALSE;
CK_BYTE id[] = {1};
char label[] = "fleetroot";

CK_OBJECT_HANDLE generate(CK_FUNCTION_LIST* p11, CK_SESSION_HANDLE session) {
  CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
  CK_ATTRIBUTE public_template[] = {
      {CKA_TOKEN, &yes, sizeof yes},      {CKA_PRIVATE, &no, sizeof no}, {CKA_VERIFY, &yes, sizeof yes},
      {CKA_EC_PARAMS, p256, sizeof p256}, {CKA_ID, id, sizeof id},       {CKA_LABEL, label, sizeof label - 1},
  };
  CK_ATTRIBUTE private_template[] = {
      {CKA_TOKEN, &yes, sizeof yes},     {CKA_PRIVATE, &yes, sizeof yes},
      {CKA_SENSITIVE, &yes, sizeof yes}, {CKA_EXTRACTABLE, &no, sizeof no},
      {CKA_SIGN, &yes, sizeof yes},      {CKA_DERIVE, &no, sizeof no},
      {CKA_DECRYPT, &no, sizeof no},     {CKA_UNWRAP, &no, sizeof no},
      {CKA_ID, id, sizeof id},           {CKA_LABEL, label, sizeof label - 1},
  };
  CK_MECHANISM mechanism{CKM_EC_KEY_PAIR_GEN, nullptr, 0};
  CK_OBJECT_HANDLE public_key = 0;
  CK_OBJECT_HANDLE private_key = 0;
  check(p11->C_GenerateKeyPair(session, &mechanism, public_template, std::size(public_template),
                               private_template, std::size(private_template), &public_key, &private_key),
        "C_GenerateKeyPair");
  return private_key;
}

void sign(CK_FUNCTION_LIST* p11, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key) {
  CK_MECHANISM mechanism{CKM_ECDSA, nullptr, 0};
  CK_BYTE digest[32] = {7};
  CK_BYTE signature[64];
  CK_ULONG size = sizeof signature;
  check(p11->C_SignInit(session, &mechanism, key), "C_SignInit");
  check(p11->C_Sign(session, digest, sizeof digest, signature, &size), "C_Sign");
}

// As large as a device certificate; the token does not parse it.
std::vector<CK_BYTE> some_certificate() {
  return std::vector<CK_BYTE>(600, 0x30);
}

void write_certificate(CK_FUNCTION_LIST* p11, CK_SESSION_HANDLE session, std::vector<CK_BYTE> value) {
  CK_OBJECT_CLASS object_class = CKO_CERTIFICATE;
  CK_CERTIFICATE_TYPE type = CKC_X_509;
  CK_BYTE name[] = {0x30, 0x00};
  CK_BYTE serial[] = {0x02, 0x01, 0x01};
  CK_ATTRIBUTE certificate[] = {
      {CKA_CLASS, &object_class, sizeof object_class},
      {CKA_TOKEN, &yes, sizeof yes},
      {CKA_PRIVATE, &no, sizeof no},
      {CKA_CERTIFICATE_TYPE, &type, sizeof type},
      {CKA_ID, id, sizeof id},
      {CKA_LABEL, label, sizeof label - 1},
      {CKA_SUBJECT, name, sizeof name},
      {CKA_ISSUER, name, sizeof name},
      {CKA_SERIAL_NUMBER, serial, sizeof serial},
      {CKA_VALUE, value.data(), value.size()},
  };
  CK_OBJECT_HANDLE object = 0;
  check(p11->C_CreateObject(session, certificate, std::size(certificate), &object), "C_CreateObject");
}

// The one object of these attributes.
template <std::size_t N>
CK_OBJECT_HANDLE find_one(CK_FUNCTION_LIST* p11, CK_SESSION_HANDLE session, CK_ATTRIBUTE (&wanted)[N]) {
  check(p11->C_FindObjectsInit(session, wanted, N), "C_FindObjectsInit");
  CK_OBJECT_HANDLE object = 0;
  CK_ULONG count = 0;
  check(p11->C_FindObjects(session, &object, 1, &count), "C_FindObjects");
  check(p11->C_FindObjectsFinal(session), "C_FindObjectsFinal");
  if (count != 1) throw std::runtime_error("the object is not there");
  return object;
}

std::vector<CK_BYTE> read_certificate(CK_FUNCTION_LIST* p11, CK_SESSION_HANDLE session) {
  CK_OBJECT_CLASS object_class = CKO_CERTIFICATE;
  CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &object_class, sizeof object_class}, {CKA_ID, id, sizeof id}};
  CK_OBJECT_HANDLE object = find_one(p11, session, wanted);
  CK_ATTRIBUTE value{CKA_VALUE, nullptr, 0};
  check(p11->C_GetAttributeValue(session, object, &value, 1), "C_GetAttributeValue");
  std::vector<CK_BYTE> bytes(value.ulValueLen);
  value.pValue = bytes.data();
  check(p11->C_GetAttributeValue(session, object, &value, 1), "C_GetAttributeValue");
  return bytes;
}

CK_OBJECT_HANDLE find_key(CK_FUNCTION_LIST* p11, CK_SESSION_HANDLE session) {
  CK_OBJECT_CLASS object_class = CKO_PRIVATE_KEY;
  CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &object_class, sizeof object_class}};
  return find_one(p11, session, wanted);
}

void work_as_device(CK_FUNCTION_LIST* p11, CK_SLOT_ID slot, CK_SESSION_HANDLE first) {
  CK_OBJECT_HANDLE key = generate(p11, first);
  sign(p11, first, key);  // the proof of the pair
  sign(p11, first, key);  // the request
  std::vector<CK_BYTE> certificate = some_certificate();
  write_certificate(p11, first, certificate);
  // The login belongs to the token, so it outlives the first session if the second is open before: one login.
  CK_SESSION_HANDLE second = open_session(p11, slot);
  check(p11->C_CloseSession(first), "C_CloseSession");
  if (read_certificate(p11, second) != certificate)
    throw std::runtime_error("the certificate reads back different");
  sign(p11, second, key);  // the proof after the write
  check(p11->C_CloseSession(second), "C_CloseSession");
}

void work_as_signer(CK_FUNCTION_LIST* p11, CK_SESSION_HANDLE session) {
  CK_OBJECT_HANDLE key = find_key(p11, session);
  sign(p11, session, key);
  sign(p11, session, key);
}

void run(const std::string& role, const char* module_path, const std::string& token_label, std::string pin) {
  CK_FUNCTION_LIST* p11 = load(module_path);
  check(p11->C_Initialize(nullptr), "C_Initialize");
  CK_SLOT_ID slot = find_slot(p11, token_label);
  CK_SESSION_HANDLE session = open_session(p11, slot);
  check(p11->C_Login(session, CKU_USER, reinterpret_cast<CK_UTF8CHAR*>(pin.data()), pin.size()), "C_Login");
  if (role == "device") {
    work_as_device(p11, slot, session);
  } else {
    work_as_signer(p11, session);
  }
  check(p11->C_Finalize(nullptr), "C_Finalize");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: floor device|signer MODULE TOKEN-LABEL PIN-FILE\n");
    return 64;
  }
  try {
    run(argv[1], argv[2], argv[3], read_line(argv[4]));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "floor: %s\n", error.what());
    return 1;
  }
  return 0;
}
