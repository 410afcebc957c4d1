#include "lib/x509/openssl_context.h"

#include <openssl/core_dispatch.h>
#include <openssl/provider.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "lib/x509/openssl.h"

namespace fleetroot {
namespace {

using Names = std::initializer_list<std::string_view>;

// By the first of the names that OpenSSL gives each.
bool is_wanted(int operation, std::string_view name) {
  auto among = [name](Names names) { return std::find(names.begin(), names.end(), name) != names.end(); };
  switch (operation) {
    case OSSL_OP_DIGEST:
      // The first two to tell that a certificate is too weak.
      return among({"MD5", "SHA1", "SHA2-224", "SHA2-256", "SHA2-384", "SHA2-512"});
    case OSSL_OP_CIPHER:
      return among({"AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305", "AES-256-CTR"});
    case OSSL_OP_MAC:
      return among({"HMAC"});
    case OSSL_OP_KDF:
      return among({"HKDF", "TLS13-KDF", "TLS1-PRF"});
    case OSSL_OP_RAND:
      return among({"CTR-DRBG", "SEED-SRC"});
    case OSSL_OP_KEYMGMT:
      // TLS agrees on keys with X25519, and looks for signatures of RSA keys under RSA-PSS.
      return among({"EC", "RSA", "ED25519", "X25519", "RSA-PSS"});
    case OSSL_OP_KEYEXCH:
      return among({"ECDH", "X25519"});
    case OSSL_OP_SIGNATURE:
      return among({"ECDSA", "RSA", "ED25519"});
    case OSSL_OP_ENCODER:
    case OSSL_OP_DECODER:
      return among({"EC", "RSA", "ED25519"});
    default:
      return false;
  }
}

// Of how a key is written, SubjectPublicKeyInfo in DER is all that a certificate has.
bool is_wanted_encoding(std::string_view properties) {
  auto has = [&](std::string_view property) { return properties.find(property) != std::string_view::npos; };
  return has("structure=SubjectPublicKeyInfo") && (has("input=der") || has("output=der"));
}

bool is_wanted(int operation, const OSSL_ALGORITHM& algorithm) {
  std::string_view names = algorithm.algorithm_names;
  if (!is_wanted(operation, names.substr(0, names.find(':')))) return false;
  bool is_encoding = operation == OSSL_OP_ENCODER || operation == OSSL_OP_DECODER;
  return !is_encoding || is_wanted_encoding(algorithm.property_definition);
}

// The default provider of OpenSSL's own context, and what of it ours shows.
class Reduction {
 public:
  Reduction() : whole_(OSSL_PROVIDER_load(nullptr, "default")) {
    if (whole_ == nullptr) return;
    for (int operation = 0; operation < static_cast<int>(tables_.size()); ++operation) {
      int no_cache = 0;
      const OSSL_ALGORITHM* all = OSSL_PROVIDER_query_operation(whole_, operation, &no_cache);
      std::vector<OSSL_ALGORITHM>& wanted = tables_[static_cast<std::size_t>(operation)];
      for (; all != nullptr && all->algorithm_names != nullptr; ++all) {
        if (is_wanted(operation, *all)) wanted.push_back(*all);
      }
      wanted.push_back({nullptr, nullptr, nullptr, nullptr});
    }
  }

  bool is_loaded() const { return whole_ != nullptr; }
  // The algorithms are the default provider's own, so they get its context.
  void* provider_context() const { return OSSL_PROVIDER_get0_provider_ctx(whole_); }
  int capabilities(const char* capability, OSSL_CALLBACK* visit, void* argument) const {
    return OSSL_PROVIDER_get_capabilities(whole_, capability, visit, argument);
  }
  const OSSL_ALGORITHM* table(int operation) const {
    auto index = static_cast<std::size_t>(operation);
    return index < tables_.size() ? tables_[index].data() : nullptr;
  }

 private:
  OSSL_PROVIDER* whole_;
  std::array<std::vector<OSSL_ALGORITHM>, OSSL_OP__HIGHEST + 1> tables_;
};

const Reduction& reduction() {
  static const Reduction reduction;
  return reduction;
}

const OSSL_ALGORITHM* query(void*, int operation, int* no_cache) {
  *no_cache = 0;
  return reduction().table(operation);
}

// The groups of TLS.
int capabilities(void*, const char* capability, OSSL_CALLBACK* visit, void* argument) {
  return reduction().capabilities(capability, visit, argument);
}

template <typename Function>
OSSL_DISPATCH entry(int id, Function* function) {
  return {id, reinterpret_cast<void (*)()>(function)};
}

int initialise(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*, const OSSL_DISPATCH** functions,
               void** provider_context) {
  static const OSSL_DISPATCH kFunctions[] = {entry(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query),
                                             entry(OSSL_FUNC_PROVIDER_GET_CAPABILITIES, capabilities),
                                             {0, nullptr}};
  *functions = kFunctions;
  *provider_context = reduction().provider_context();
  return 1;
}

OSSL_LIB_CTX* make_context() {
  OSSL_LIB_CTX* context = OSSL_LIB_CTX_new();
  constexpr const char* kName = "fleetroot-default";
  bool good = context != nullptr && reduction().is_loaded() &&
              OSSL_PROVIDER_add_builtin(context, kName, initialise) == 1 &&
              OSSL_PROVIDER_load(context, kName) != nullptr;
  if (!good) throw openssl_error(ErrorCode::internal, "OpenSSL does not start", "report this");
  return context;
}

}  // namespace

OSSL_LIB_CTX* empty_openssl_context() {
  static OSSL_LIB_CTX* const context = [] {
    OSSL_LIB_CTX* empty = OSSL_LIB_CTX_new();
    bool good = empty != nullptr && OSSL_PROVIDER_load(empty, "null") != nullptr;
    if (!good) throw openssl_error(ErrorCode::internal, "OpenSSL does not start", "report this");
    return empty;
  }();
  return context;
}

OSSL_LIB_CTX* openssl_context() {
  static OSSL_LIB_CTX* const context = make_context();
  return context;
}

}  // namespace fleetroot
