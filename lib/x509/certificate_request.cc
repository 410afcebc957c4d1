#include "lib/x509/certificate_request.h"

#include <fmt/format.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <array>

#include "lib/x509/der.h"
#include "lib/x509/name_text.h"
#include "lib/x509/openssl_context.h"
#include "lib/x509/pem.h"
#include "lib/x509/provisioning_statement.h"
#include "lib/x509/signature.h"

namespace fleetroot {
namespace {

struct FreeExtensions {
  void operator()(X509_EXTENSIONS* extensions) const {
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  }
};
using ExtensionsPtr = std::unique_ptr<X509_EXTENSIONS, FreeExtensions>;
using X509AlgorPtr = std::unique_ptr<X509_ALGOR, FreeWith<X509_ALGOR_free>>;
using BasicConstraintsPtr = std::unique_ptr<BASIC_CONSTRAINTS, FreeWith<BASIC_CONSTRAINTS_free>>;
using BitStringPtr = std::unique_ptr<ASN1_BIT_STRING, FreeWith<ASN1_BIT_STRING_free>>;
using PssParametersPtr = std::unique_ptr<RSA_PSS_PARAMS, FreeWith<RSA_PSS_PARAMS_free>>;

constexpr std::array kAcceptedSignatures{NID_ecdsa_with_SHA256,
                                         NID_ecdsa_with_SHA384,
                                         NID_ecdsa_with_SHA512,
                                         NID_sha256WithRSAEncryption,
                                         NID_sha384WithRSAEncryption,
                                         NID_sha512WithRSAEncryption,
                                         NID_rsassaPss,
                                         NID_ED25519};
constexpr std::array kAcceptedPssDigests{NID_sha256, NID_sha384, NID_sha512};
// Critical extensions that we understand: asking for them is harmless, because the profile alone decides.
constexpr std::array kKnownExtensions{NID_basic_constraints, NID_key_usage, NID_ext_key_usage,
                                      NID_subject_alt_name, NID_subject_key_identifier};

[[noreturn]] void refuse(std::string why, std::string hint) {
  throw Error(ErrorCode::bad_request, "the certificate request " + why, std::move(hint),
              take_openssl_errors());
}

template <std::size_t N>
bool contains(const std::array<int, N>& list, int nid) {
  return std::find(list.begin(), list.end(), nid) != list.end();
}

const ASN1_OBJECT* statement_oid() {
  static const Asn1ObjectPtr oid(OBJ_txt2obj(kProvisioningStatementOid, 1));
  return oid.get();
}

int nid_of(const X509_ALGOR* algorithm) {
  const ASN1_OBJECT* name = nullptr;
  X509_ALGOR_get0(&name, nullptr, nullptr, algorithm);
  return OBJ_obj2nid(name);
}

// An algorithm's parameters, as what `d2i` reads; null if they are nothing of that kind.
template <typename Pointer>
Pointer read_parameters(const X509_ALGOR* algorithm,
                        typename Pointer::pointer (*d2i)(typename Pointer::pointer*, const unsigned char**,
                                                         long)) {
  int type = V_ASN1_UNDEF;
  const void* value = nullptr;
  if (algorithm != nullptr) X509_ALGOR_get0(nullptr, &type, &value, algorithm);
  if (type != V_ASN1_SEQUENCE) return nullptr;
  const auto* sequence = static_cast<const ASN1_STRING*>(value);
  const unsigned char* in = ASN1_STRING_get0_data(sequence);
  return Pointer(d2i(nullptr, &in, ASN1_STRING_length(sequence)));
}

// RFC 4055 section 3.1: PSS names its digest and its mask's in its parameters, and means SHA-1 where it names
// none.
bool has_accepted_pss_digests(const X509_REQ* request) {
  const X509_ALGOR* algorithm = nullptr;
  X509_REQ_get0_signature(request, nullptr, &algorithm);
  auto parameters = read_parameters<PssParametersPtr>(algorithm, d2i_RSA_PSS_PARAMS);
  if (!parameters || parameters->hashAlgorithm == nullptr) return false;
  auto mask_digest = read_parameters<X509AlgorPtr>(parameters->maskGenAlgorithm, d2i_X509_ALGOR);
  return contains(kAcceptedPssDigests, nid_of(parameters->hashAlgorithm)) && mask_digest &&
         contains(kAcceptedPssDigests, nid_of(mask_digest.get()));
}

// PSS and Ed25519, whose parameters are OpenSSL's business, in a request of the key's own context.
bool verifies_in_context(const Bytes& der, const PublicKey& key) {
  const unsigned char* in = der.data();
  X509_REQ* made = X509_REQ_new_ex(openssl_context(), nullptr);
  X509ReqPtr request(d2i_X509_REQ(&made, &in, static_cast<long>(der.size())));
  return request && X509_REQ_verify(request.get(), key.evp()) == 1;
}

bool verifies(X509_REQ* request, int signature_nid, const PublicKey& key) {
  Bytes der = to_der(i2d_X509_REQ, static_cast<const X509_REQ*>(request));
  if (signature_nid == NID_rsassaPss || signature_nid == NID_ED25519) return verifies_in_context(der, key);
  static const der::Blame kBlame{ErrorCode::bad_request, "this is no certificate request", "make it again"};
  der::Reader parts = der::Reader(der, kBlame).enter(der::kSequence, "the request");
  BytesView information = parts.take().whole;
  BytesView algorithm = parts.take().whole;
  return is_signed_by(key, algorithm, information, parts.take_octet_bits("its signature"));
}

void refuse_bad_signature(X509_REQ* request, const PublicKey& key) {
  int nid = X509_REQ_get_signature_nid(request);
  if (!contains(kAcceptedSignatures, nid) || (nid == NID_rsassaPss && !has_accepted_pss_digests(request))) {
    refuse(fmt::format("is signed with {}, which is not accepted", OBJ_nid2ln(nid)),
           "sign it with SHA-256 or better, with PSS for its mask too");
  }
  if (!verifies(request, nid, key)) {
    refuse("has a signature that does not verify with its own key", "make the request again on the device");
  }
}

template <typename Pointer>
Pointer read_extension(X509_EXTENSIONS* extensions, int nid) {
  int found = 0;
  Pointer value(static_cast<typename Pointer::pointer>(X509V3_get_d2i(extensions, nid, &found, nullptr)));
  constexpr int kAbsent = -1;  // -2 where it is there twice
  if (!value && found != kAbsent)
    refuse(fmt::format("asks for {} twice, or in a form that cannot be read", OBJ_nid2sn(nid)),
           "make the request again");
  return value;
}

bool asks_to_be_ca(X509_EXTENSIONS* extensions) {
  auto constraints = read_extension<BasicConstraintsPtr>(extensions, NID_basic_constraints);
  return constraints && constraints->ca != 0;
}

bool asks_for_ca_rights(X509_EXTENSIONS* extensions) {
  auto usage = read_extension<BitStringPtr>(extensions, NID_key_usage);
  constexpr int kKeyCertSign = 5;  // RFC 5280 section 4.2.1.3
  constexpr int kCrlSign = 6;
  return asks_to_be_ca(extensions) || (usage && (ASN1_BIT_STRING_get_bit(usage.get(), kKeyCertSign) != 0 ||
                                                 ASN1_BIT_STRING_get_bit(usage.get(), kCrlSign) != 0));
}

// How many lists of extensions there are: under PKCS#9's attribute and under Microsoft's, which OpenSSL reads
// as well.
int extension_wishes(const X509_REQ* request) {
  int count = 0;
  for (int nid : {NID_ext_req, NID_ms_ext_req}) {
    for (int at = -1; (at = X509_REQ_get_attr_by_NID(request, nid, at)) >= 0;) {
      count += X509_ATTRIBUTE_count(X509_REQ_get_attr(request, at));
    }
  }
  return count;
}

// Null, which OpenSSL takes for an empty list, where it asks for none.
ExtensionsPtr wished_extensions(X509_REQ* request) {
  int wishes = extension_wishes(request);
  if (wishes == 0) return nullptr;
  if (wishes > 1) refuse("asks for extensions twice", "make the request again");
  ExtensionsPtr extensions(X509_REQ_get_extensions(request));
  if (!extensions) refuse("asks for extensions that cannot be read", "make the request again");
  return extensions;
}

void refuse_bad_extensions(X509_REQ* request, RequestKind kind) {
  ExtensionsPtr extensions = wished_extensions(request);
  for (int i = 0; i < sk_X509_EXTENSION_num(extensions.get()); ++i) {
    X509_EXTENSION* extension = sk_X509_EXTENSION_value(extensions.get(), i);
    int nid = OBJ_obj2nid(X509_EXTENSION_get_object(extension));
    if (X509_EXTENSION_get_critical(extension) != 0 && !contains(kKnownExtensions, nid)) {
      char oid[128];
      OBJ_obj2txt(oid, sizeof oid, X509_EXTENSION_get_object(extension), 1);
      refuse(fmt::format("has a critical extension that is not known ({})", oid), "leave the extension out");
    }
  }
  if (kind == RequestKind::end_entity && asks_for_ca_rights(extensions.get())) {
    refuse("asks for the rights of a CA",
           "leave basicConstraints and certificate signing out of the request");
  }
  if (kind == RequestKind::authority && !asks_to_be_ca(extensions.get())) {
    refuse(
        "does not ask to be a CA (basicConstraints with CA:TRUE)",
        "give an issuing CA's request; one that an older fleetroot-ca made without this is made again with "
        "fleetroot-ca init --external-root");
  }
}

bool add_wish_to_be_ca(X509_REQ* request) {
  BasicConstraintsPtr constraints(BASIC_CONSTRAINTS_new());
  constraints->ca = 0xFF;
  X509_EXTENSIONS* made = nullptr;
  constexpr int kCritical = 1;
  bool added =
      X509V3_add1_i2d(&made, NID_basic_constraints, constraints.get(), kCritical, X509V3_ADD_DEFAULT) == 1;
  ExtensionsPtr extensions(made);
  return added && X509_REQ_add_extensions(request, extensions.get()) == 1;
}

// X509_REQ_set_pubkey() would send the key through an encoder and a decoder, whose look-up costs more than a
// signature.
bool set_public_key(X509_PUBKEY* target, const PublicKey& key) {
  const unsigned char* in = key.algorithm_identifier().data();
  X509AlgorPtr algorithm(d2i_X509_ALGOR(nullptr, &in, static_cast<long>(key.algorithm_identifier().size())));
  BytesView octets = key.key_octets();
  auto* copy = static_cast<unsigned char*>(OPENSSL_memdup(octets.data(), octets.size()));
  if (!algorithm || copy == nullptr) return false;
  const ASN1_OBJECT* object = nullptr;
  int type = V_ASN1_UNDEF;
  const void* value = nullptr;
  X509_ALGOR_get0(&object, &type, &value, algorithm.get());
  // The only parameters of our five kinds are none, NULL and a curve's name.
  void* parameters = type == V_ASN1_OBJECT ? OBJ_dup(static_cast<const ASN1_OBJECT*>(value)) : nullptr;
  return X509_PUBKEY_set0_param(target, OBJ_dup(object), type, parameters, copy,
                                static_cast<int>(octets.size())) == 1;
}

}  // namespace

CertificateRequest::CertificateRequest(X509ReqPtr request)
    : request_(std::move(request)),
      public_key_(PublicKey::from_spki(to_der(i2d_X509_PUBKEY, X509_REQ_get_X509_PUBKEY(x509_req())))) {}

CertificateRequest CertificateRequest::from_der(BytesView der) {
  const unsigned char* in = der.data();
  X509ReqPtr request(
      parse_without_keys<X509_REQ>(ASN1_ITEM_rptr(X509_REQ), &in, static_cast<long>(der.size())));
  if (!request || in != der.data() + der.size())
    refuse("cannot be read", "give one PKCS#10 request, PEM or DER");
  return CertificateRequest(std::move(request));
}

CertificateRequest CertificateRequest::from_pem(std::string_view pem) {
  BioPtr memory = pem_reader(pem);
  X509ReqPtr request(PEM_read_bio_X509_REQ(memory.get(), nullptr, no_pass_phrase, nullptr));
  X509ReqPtr another(PEM_read_bio_X509_REQ(memory.get(), nullptr, no_pass_phrase, nullptr));
  take_openssl_errors();
  if (another)
    throw Error(ErrorCode::bad_request, "there is more than one certificate request here", "give one");
  return from_der(request ? to_der(i2d_X509_REQ, request.get()) : Bytes(pem.begin(), pem.end()));
}

CertificateRequest CertificateRequest::create(std::string_view common_name, const PublicKey& public_key,
                                              EVP_PKEY* signer, std::string_view statement_json,
                                              RequestKind kind) {
  X509ReqPtr request(X509_REQ_new());
  bool built = X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1 &&
               X509_NAME_add_entry_by_NID(X509_REQ_get_subject_name(request.get()), NID_commonName,
                                          MBSTRING_UTF8, as_bytes(common_name).data(),
                                          static_cast<int>(common_name.size()), -1, 0) == 1 &&
               set_public_key(X509_REQ_get_X509_PUBKEY(request.get()), public_key);
  if (built && !statement_json.empty()) {
    built = X509_REQ_add1_attr_by_OBJ(request.get(), statement_oid(), V_ASN1_UTF8STRING,
                                      as_bytes(statement_json).data(),
                                      static_cast<int>(statement_json.size())) == 1;
  }
  if (built && kind == RequestKind::authority) built = add_wish_to_be_ca(request.get());
  if (!built) throw openssl_error(ErrorCode::internal, "cannot build the certificate request", "report this");
  let_openssl_sign(
      [&] { return X509_REQ_sign(request.get(), signer, digest_for(public_key.algorithm())) > 0; },
      {ErrorCode::token_untrusted, "the token did not sign the certificate request",
       "run the same command again; if it fails again, replace the token"});
  // The bytes that leave are parsed again, so that what is verified is what the CA will see.
  CertificateRequest result = from_der(to_der(i2d_X509_REQ, request.get()));
  if (!(result.public_key() == public_key) || X509_REQ_verify(result.x509_req(), public_key.evp()) != 1) {
    throw openssl_error(ErrorCode::token_untrusted,
                        "the token's signature on the certificate request does not verify",
                        "replace the token: it signs with another key than it shows");
  }
  return result;
}

void CertificateRequest::refuse_unless_sound(RequestKind kind) const {
  if (X509_REQ_get_version(x509_req()) != X509_REQ_VERSION_1)
    refuse("has a version other than 1", "make it again");
  (void)common_name();
  refuse_bad_signature(x509_req(), public_key());
  refuse_bad_extensions(x509_req(), kind);
  if (std::optional<std::string> json = statement_json()) ProvisioningStatement::parse(*json);
}

Bytes CertificateRequest::der() const {
  return to_der(i2d_X509_REQ, x509_req());
}

std::string CertificateRequest::pem() const {
  BioPtr memory(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_REQ(memory.get(), x509_req());
  return text_in(memory.get());
}

std::string CertificateRequest::common_name() const {
  std::optional<std::string> name = single_common_name(X509_REQ_get_subject_name(x509_req()));
  if (!name)
    refuse("does not name exactly one CN", "put the device ID, and nothing else, into the subject's CN");
  return *name;
}

std::optional<std::string> CertificateRequest::statement_json() const {
  int position = X509_REQ_get_attr_by_OBJ(x509_req(), statement_oid(), -1);
  if (position < 0) return std::nullopt;
  X509_ATTRIBUTE* attribute = X509_REQ_get_attr(x509_req(), position);
  const ASN1_TYPE* value = X509_ATTRIBUTE_get0_type(attribute, 0);
  bool single = X509_ATTRIBUTE_count(attribute) == 1 &&
                X509_REQ_get_attr_by_OBJ(x509_req(), statement_oid(), position) < 0;
  if (!single || ASN1_TYPE_get(value) != V_ASN1_UTF8STRING) {
    refuse("carries a provisioning statement that is not one UTF8String",
           "make the request with a Fleetroot station");
  }
  const ASN1_UTF8STRING* text = value->value.utf8string;
  return std::string(
      as_text({ASN1_STRING_get0_data(text), static_cast<std::size_t>(ASN1_STRING_length(text))}));
}

void refuse_unless_signs(const PublicKey& public_key, EVP_PKEY* signer) {
  CertificateRequest::create("a signature to try", public_key, signer);
}

}  // namespace fleetroot
