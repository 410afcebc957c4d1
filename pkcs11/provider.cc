// Sources: provider(7), provider-keymgmt(7), provider-signature(7) of OpenSSL 3.0.
#include "pkcs11/provider.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>

#include <cstring>
#include <mutex>
#include <string_view>

#include "lib/x509/openssl_context.h"
#include "lib/x509/signature.h"

namespace fleetroot::pkcs11 {
namespace {

constexpr const char* kProviderName = "fleetroot";
// An octet string that holds the address of a KeyReference.
constexpr const char* kKeyReference = "fleetroot-key-reference";
constexpr std::size_t kPointerSize = sizeof(void*);

struct Key {
  PublicKey public_key;
  std::shared_ptr<Signer> signer;
};
using KeyReference = std::shared_ptr<const Key>;

KeyReference& key_of(void* keydata) {
  return *static_cast<KeyReference*>(keydata);
}

const KeyReference& key_of(const void* keydata) {
  return *static_cast<const KeyReference*>(keydata);
}

// The dispatch tables hold functions of many types behind one; OpenSSL casts them back by their number.
template <typename Function>
OSSL_DISPATCH entry(int number, Function* function) {
  return {number, reinterpret_cast<void (*)()>(function)};
}

// ---- key management ----

void* key_new(void*) {
  return new KeyReference();
}

void key_free(void* keydata) {
  delete static_cast<KeyReference*>(keydata);
}

int key_has(const void* keydata, int) {
  return keydata != nullptr && key_of(keydata) != nullptr ? 1 : 0;
}

int key_match(const void* a, const void* b, int) {
  return key_of(a) && key_of(b) && key_of(a)->public_key == key_of(b)->public_key ? 1 : 0;
}

int key_import(void* keydata, int, const OSSL_PARAM params[]) {
  const OSSL_PARAM* reference = OSSL_PARAM_locate_const(params, kKeyReference);
  if (reference == nullptr || reference->data_size != kPointerSize) return 0;
  const KeyReference* source = nullptr;
  std::memcpy(static_cast<void*>(&source), reference->data, kPointerSize);
  key_of(keydata) = *source;
  return 1;
}

const OSSL_PARAM* key_import_types(int) {
  static const OSSL_PARAM kTypes[] = {OSSL_PARAM_octet_string(kKeyReference, nullptr, 0), OSSL_PARAM_END};
  return kTypes;
}

// Who asks for a private key is refused, which is how OpenSSL learns to come back here to sign.
int key_export(void* keydata, int selection, OSSL_CALLBACK* callback, void* argument) {
  if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0) return 0;
  return EVP_PKEY_export(key_of(keydata)->public_key.evp(), EVP_PKEY_PUBLIC_KEY, callback, argument);
}

const OSSL_PARAM* key_export_types(int selection) {
  static const OSSL_PARAM kTypes[] = {OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, nullptr, 0),
                                      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, nullptr, 0),
                                      OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, nullptr, 0),
                                      OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, nullptr, 0), OSSL_PARAM_END};
  return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0 ? nullptr : kTypes;
}

int key_get_params(void* keydata, OSSL_PARAM params[]) {
  return EVP_PKEY_get_params(key_of(keydata)->public_key.evp(), params);
}

const OSSL_PARAM* key_gettable_params(void*) {
  static const OSSL_PARAM kParams[] = {
      OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, nullptr),
      OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, nullptr),
      OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, nullptr),
      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_MANDATORY_DIGEST, nullptr, 0),
      OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, nullptr, 0),
      OSSL_PARAM_END};
  return kParams;
}

// A name of its own, so that OpenSSL does not first try another provider's signature with a key that it
// cannot have.
const char* key_query_operation_name(int) {
  return "FLEETROOT-SIGNATURE";
}

const OSSL_DISPATCH kKeyManagement[] = {
    entry(OSSL_FUNC_KEYMGMT_NEW, key_new),
    entry(OSSL_FUNC_KEYMGMT_FREE, key_free),
    entry(OSSL_FUNC_KEYMGMT_HAS, key_has),
    entry(OSSL_FUNC_KEYMGMT_MATCH, key_match),
    entry(OSSL_FUNC_KEYMGMT_IMPORT, key_import),
    entry(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, key_import_types),
    entry(OSSL_FUNC_KEYMGMT_EXPORT, key_export),
    entry(OSSL_FUNC_KEYMGMT_EXPORT_TYPES, key_export_types),
    entry(OSSL_FUNC_KEYMGMT_GET_PARAMS, key_get_params),
    entry(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, key_gettable_params),
    entry(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, key_query_operation_name),
    {0, nullptr}};

// ---- signatures ----

struct SignatureContext {
  KeyReference key;
  const EVP_MD* digest = nullptr;  // static, from EVP_sha…()
  EvpMdCtxPtr hash;
  int padding = RSA_PKCS1_PADDING;

  bool is_ed25519() const { return key->public_key.algorithm() == KeyAlgorithm::ed25519; }
  bool is_rsa() const {
    return key->public_key.algorithm() == KeyAlgorithm::rsa2048 ||
           key->public_key.algorithm() == KeyAlgorithm::rsa3072;
  }
};

SignatureContext& context_of(void* context) {
  return *static_cast<SignatureContext*>(context);
}

void* signature_new(void*, const char*) {
  return new SignatureContext();
}

void signature_free(void* context) {
  delete static_cast<SignatureContext*>(context);
}

void* signature_dup(void* context) {
  const SignatureContext& source = context_of(context);
  auto copy = std::make_unique<SignatureContext>();
  copy->key = source.key;
  copy->digest = source.digest;
  copy->padding = source.padding;
  if (source.hash) {
    copy->hash.reset(EVP_MD_CTX_new());
    if (EVP_MD_CTX_copy_ex(copy->hash.get(), source.hash.get()) != 1) return nullptr;
  }
  return copy.release();
}

const EVP_MD* digest_named(const char* name) {
  for (const EVP_MD* digest : {EVP_sha256(), EVP_sha384(), EVP_sha512()}) {
    if (EVP_MD_is_a(digest, name) == 1) return digest;
  }
  return nullptr;
}

int set_padding(SignatureContext& context, const OSSL_PARAM& parameter) {
  int number = 0;
  if (parameter.data_type == OSSL_PARAM_UTF8_STRING) {
    std::string_view text(static_cast<const char*>(parameter.data));
    number = text == OSSL_PKEY_RSA_PAD_MODE_PSS ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING;
    if (text != OSSL_PKEY_RSA_PAD_MODE_PSS && text != OSSL_PKEY_RSA_PAD_MODE_PKCSV15) return 0;
  } else if (OSSL_PARAM_get_int(&parameter, &number) != 1) {
    return 0;
  }
  context.padding = number;
  return number == RSA_PKCS1_PADDING || number == RSA_PKCS1_PSS_PADDING ? 1 : 0;
}

// The salt is always as long as the digest, which is what TLS 1.3 and RFC 4055 want; anything else is
// refused.
bool is_digest_long_salt(const SignatureContext& context, const OSSL_PARAM& parameter) {
  int number = 0;
  if (parameter.data_type == OSSL_PARAM_UTF8_STRING) {
    std::string_view text(static_cast<const char*>(parameter.data));
    return text == OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST ||
           text == std::to_string(EVP_MD_get_size(context.digest));
  }
  return OSSL_PARAM_get_int(&parameter, &number) == 1 &&
         (number == RSA_PSS_SALTLEN_DIGEST || number == EVP_MD_get_size(context.digest));
}

int signature_set_params(void* raw, const OSSL_PARAM params[]) {
  SignatureContext& context = context_of(raw);
  if (params == nullptr || !context.is_rsa()) return 1;
  const OSSL_PARAM* padding = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
  if (padding != nullptr && set_padding(context, *padding) == 0) return 0;
  const OSSL_PARAM* salt = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN);
  if (salt != nullptr && !is_digest_long_salt(context, *salt)) return 0;
  const OSSL_PARAM* mgf1 = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_MGF1_DIGEST);
  return mgf1 == nullptr || EVP_MD_is_a(context.digest, static_cast<const char*>(mgf1->data)) == 1 ? 1 : 0;
}

const OSSL_PARAM* signature_settable_params(void*, void*) {
  static const OSSL_PARAM kParams[] = {OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, nullptr, 0),
                                       OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, nullptr, 0),
                                       OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, nullptr, 0),
                                       OSSL_PARAM_END};
  return kParams;
}

int signature_init(void* raw, const char* digest_name, void* keydata, const OSSL_PARAM params[]) {
  SignatureContext& context = context_of(raw);
  if (keydata != nullptr) context.key = key_of(keydata);
  if (!context.key) return 0;
  context.hash.reset(EVP_MD_CTX_new());
  if (context.is_ed25519()) return digest_name == nullptr || *digest_name == '\0' ? 1 : 0;
  bool is_default = digest_name == nullptr || *digest_name == '\0';
  context.digest = is_default ? digest_for(context.key->public_key.algorithm()) : digest_named(digest_name);
  return context.digest != nullptr && EVP_DigestInit_ex(context.hash.get(), context.digest, nullptr) == 1 &&
                 signature_set_params(raw, params) == 1
             ? 1
             : 0;
}

int signature_update(void* raw, const unsigned char* data, std::size_t size) {
  return context_of(raw).digest != nullptr && EVP_DigestUpdate(context_of(raw).hash.get(), data, size) == 1
             ? 1
             : 0;
}

// Signs, and turns what the token's side throws into an entry of OpenSSL's error queue; an Error is kept
// beside it.
int sign_into(const SignatureContext& context, const SignatureInput& input, unsigned char* out,
              std::size_t* out_size, std::size_t capacity) {
  try {
    Bytes signature = context.key->signer->sign(input);
    if (signature.size() > capacity) return 0;
    std::memcpy(out, signature.data(), signature.size());
    *out_size = signature.size();
    return 1;
  } catch (const Error& error) {
    keep_signing_error(error);
    ERR_raise_data(ERR_LIB_PROV, ERR_R_OPERATION_FAIL, "%s", error.what());
    return 0;
  } catch (const std::exception& error) {
    ERR_raise_data(ERR_LIB_PROV, ERR_R_OPERATION_FAIL, "%s", error.what());
    return 0;
  }
}

std::size_t maximum_signature_size(const SignatureContext& context) {
  return static_cast<std::size_t>(EVP_PKEY_get_size(context.key->public_key.evp()));
}

int signature_final(void* raw, unsigned char* out, std::size_t* out_size, std::size_t capacity) {
  SignatureContext& context = context_of(raw);
  if (out == nullptr) {
    *out_size = maximum_signature_size(context);
    return 1;
  }
  // Ed25519 wants the whole message at once, so there is nothing that could be finished here.
  if (context.digest == nullptr) return 0;
  SignatureInput input{
      .scheme = SignatureScheme::ecdsa, .digest_nid = EVP_MD_get_type(context.digest), .data = {}};
  if (context.is_rsa()) {
    input.scheme =
        context.padding == RSA_PKCS1_PSS_PADDING ? SignatureScheme::rsa_pss : SignatureScheme::rsa_pkcs1;
  }
  input.data.resize(static_cast<std::size_t>(EVP_MD_get_size(context.digest)));
  if (EVP_DigestFinal_ex(context.hash.get(), input.data.data(), nullptr) != 1) return 0;
  return sign_into(context, input, out, out_size, capacity);
}

int signature_one_shot(void* raw, unsigned char* out, std::size_t* out_size, std::size_t capacity,
                       const unsigned char* message, std::size_t size) {
  SignatureContext& context = context_of(raw);
  if (out != nullptr && context.is_ed25519()) {
    SignatureInput input{
        .scheme = SignatureScheme::ed25519, .digest_nid = NID_undef, .data = {message, message + size}};
    return sign_into(context, input, out, out_size, capacity);
  }
  if (out != nullptr && signature_update(raw, message, size) != 1) return 0;
  return signature_final(raw, out, out_size, capacity);
}

using AlgorithmPtr = std::unique_ptr<X509_ALGOR, FreeWith<X509_ALGOR_free>>;

// The AlgorithmIdentifier that a certificate carries: RFC 5758 section 3.2 (ECDSA: no parameters), RFC 4055
// section 5 (RSA PKCS#1: NULL), RFC 8410 section 3 (Ed25519: none). PSS would need its parameters; nobody
// here signs certificates with it.
int algorithm_identifier(const SignatureContext& context, OSSL_PARAM& parameter) {
  int nid = NID_ED25519;
  if (!context.is_ed25519() &&
      OBJ_find_sigid_by_algs(&nid, EVP_MD_get_type(context.digest),
                             context.is_rsa() ? NID_rsaEncryption : NID_X9_62_id_ecPublicKey) != 1) {
    return 0;
  }
  if (context.is_rsa() && context.padding != RSA_PKCS1_PADDING) return 0;
  AlgorithmPtr algorithm(X509_ALGOR_new());
  X509_ALGOR_set0(algorithm.get(), OBJ_nid2obj(nid), context.is_rsa() ? V_ASN1_NULL : V_ASN1_UNDEF, nullptr);
  Bytes der = to_der(i2d_X509_ALGOR, algorithm.get());
  return OSSL_PARAM_set_octet_string(&parameter, der.data(), der.size());
}

int signature_get_params(void* raw, OSSL_PARAM params[]) {
  OSSL_PARAM* identifier = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_ALGORITHM_ID);
  return identifier == nullptr ? 1 : algorithm_identifier(context_of(raw), *identifier);
}

const OSSL_PARAM* signature_gettable_params(void*, void*) {
  static const OSSL_PARAM kParams[] = {OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, nullptr, 0),
                                       OSSL_PARAM_END};
  return kParams;
}

const OSSL_DISPATCH kSignature[] = {entry(OSSL_FUNC_SIGNATURE_NEWCTX, signature_new),
                                    entry(OSSL_FUNC_SIGNATURE_FREECTX, signature_free),
                                    entry(OSSL_FUNC_SIGNATURE_DUPCTX, signature_dup),
                                    entry(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, signature_init),
                                    entry(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE, signature_update),
                                    entry(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL, signature_final),
                                    entry(OSSL_FUNC_SIGNATURE_DIGEST_SIGN, signature_one_shot),
                                    entry(OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, signature_get_params),
                                    entry(OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS, signature_gettable_params),
                                    entry(OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, signature_set_params),
                                    entry(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, signature_settable_params),
                                    {0, nullptr}};

// ---- the provider ----

const OSSL_ALGORITHM* provider_query(void*, int operation, int* no_cache) {
  static constexpr const char* kProperties = "provider=fleetroot";
  static const OSSL_ALGORITHM kKeys[] = {
      {"EC:id-ecPublicKey:1.2.840.10045.2.1", kProperties, kKeyManagement, nullptr},
      {"RSA:rsaEncryption:1.2.840.113549.1.1.1", kProperties, kKeyManagement, nullptr},
      {"ED25519:1.3.101.112", kProperties, kKeyManagement, nullptr},
      {nullptr, nullptr, nullptr, nullptr}};
  static const OSSL_ALGORITHM kSignatures[] = {{"FLEETROOT-SIGNATURE", kProperties, kSignature, nullptr},
                                               {nullptr, nullptr, nullptr, nullptr}};
  *no_cache = 0;
  if (operation == OSSL_OP_KEYMGMT) return kKeys;
  if (operation == OSSL_OP_SIGNATURE) return kSignatures;
  return nullptr;
}

const OSSL_DISPATCH kProvider[] = {entry(OSSL_FUNC_PROVIDER_QUERY_OPERATION, provider_query), {0, nullptr}};

int provider_init(const OSSL_CORE_HANDLE* handle, const OSSL_DISPATCH*, const OSSL_DISPATCH** out,
                  void** context) {
  *out = kProvider;
  *context = const_cast<OSSL_CORE_HANDLE*>(handle);
  return 1;
}

void load_provider() {
  static std::once_flag once;
  std::call_once(once, [] {
    OSSL_LIB_CTX* ours = openssl_context();
    // The default provider is preferred, so that certificates and requests get keys that can verify.
    bool loaded = OSSL_PROVIDER_add_builtin(ours, kProviderName, provider_init) == 1 &&
                  OSSL_PROVIDER_load(ours, kProviderName) != nullptr &&
                  EVP_set_default_properties(ours, "?provider=default") == 1;
    // OpenSSL 3.0 caches what it fetched by name, and a look-up without a provider takes the first entry of
    // that name in the cache, whatever its provider and the preference above. So the default provider's
    // entries go in first.
    for (const char* type : {"EC", "RSA", "ED25519"}) {
      EVP_KEYMGMT* fetched = EVP_KEYMGMT_fetch(ours, type, nullptr);
      loaded = loaded && fetched != nullptr;
      EVP_KEYMGMT_free(fetched);
    }
    if (!loaded)
      throw openssl_error(ErrorCode::internal, "OpenSSL does not load our provider", "report this");
  });
}

const char* type_name(KeyAlgorithm algorithm) {
  if (algorithm == KeyAlgorithm::ed25519) return "ED25519";
  bool is_ec = algorithm == KeyAlgorithm::p256 || algorithm == KeyAlgorithm::p384;
  return is_ec ? "EC" : "RSA";
}

}  // namespace

EvpPkeyPtr make_signing_evp(const PublicKey& public_key, std::shared_ptr<Signer> signer) {
  load_provider();
  KeyReference reference = std::make_shared<const Key>(Key{public_key, std::move(signer)});
  const KeyReference* address = &reference;
  OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(kKeyReference, &address, kPointerSize),
                         OSSL_PARAM_construct_end()};
  EvpPkeyCtxPtr context(
      EVP_PKEY_CTX_new_from_name(openssl_context(), type_name(public_key.algorithm()), "provider=fleetroot"));
  EVP_PKEY* key = nullptr;
  if (!context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_KEYPAIR, params) != 1) {
    throw openssl_error(ErrorCode::internal, "cannot make a key reference for OpenSSL", "report this");
  }
  return EvpPkeyPtr(key);
}

}  // namespace fleetroot::pkcs11
