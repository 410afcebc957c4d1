#include "lib/x509/openssl_context.h"

#include <openssl/core_dispatch.h>
#include <openssl/provider.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "lib/x509/openssl.h"

namespace fleetroot {
namespace {

constexpr std::array<std::string_view, 3> kKeys{"EC", "RSA", "ED25519"};
// What TLS agrees on keys with, and the name under which it looks for RSA-PSS signatures. No certificate's
// key: neither is decoded.
constexpr std::array<std::string_view, 2> kKeysOfTls{"X25519", "RSA-PSS"};

// OpenSSL writes a name and its synonyms as "EC:id-ecPublicKey:1.2.840.10045.2.1".
template <std::size_t count>
bool is_one_of(const std::array<std::string_view, count>& kinds, std::string_view names) {
  std::string_view first = names.substr(0, names.find(':'));
  return std::find(kinds.begin(), kinds.end(), first) != kinds.end();
}

bool is_wanted(int operation, const OSSL_ALGORITHM& algorithm) {
  std::string_view properties = algorithm.property_definition;
  auto has = [&](std::string_view property) { return properties.find(property) != std::string_view::npos; };
  switch (operation) {
    case OSSL_OP_KEYMGMT:
      return is_one_of(kKeys, algorithm.algorithm_names) || is_one_of(kKeysOfTls, algorithm.algorithm_names);
    case OSSL_OP_DECODER:
    case OSSL_OP_ENCODER:
      return is_one_of(kKeys, algorithm.algorithm_names) && has("structure=SubjectPublicKeyInfo") &&
             (has("input=der") || has("output=der"));
    default:
      return true;
  }
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

OSSL_LIB_CTX* openssl_context() {
  static OSSL_LIB_CTX* const context = make_context();
  return context;
}

}  // namespace fleetroot
