#include "device-gateway/authority.h"

#include <fmt/format.h>
#include <openssl/ec.h>
#include <openssl/pkcs12.h>

#include "lib/x509/host_name.h"

namespace fleetroot::gateway {
namespace {

using Pkcs12Ptr = std::unique_ptr<PKCS12, FreeWith<PKCS12_free>>;

constexpr std::chrono::days kServerLife{365};
// RFC 5280 section 4.1.2.5: no well-defined expiration date.
constexpr Time kNoExpiry{std::chrono::seconds{253402300799}};

struct Extension {
  int nid;
  std::string value;
};

struct CertificateText {
  std::string common_name;
  Time not_before;
  Time not_after;
  std::vector<Extension> extensions;
};

void require(bool good) {
  if (!good) throw openssl_error(ErrorCode::internal, "cannot make a certificate", "report this");
}

void set_time(X509* certificate, int (*set)(X509*, const ASN1_TIME*), Time time) {
  Asn1TimePtr asn1(ASN1_TIME_set(nullptr, time.time_since_epoch().count()));
  require(asn1 && set(certificate, asn1.get()) == 1);
}

X509ExtensionPtr make_extension(X509* certificate, X509* issuer, const Extension& text) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509V3_set_ctx_nodb(&context);
  X509ExtensionPtr extension(X509V3_EXT_nconf_nid(nullptr, &context, text.nid, text.value.c_str()));
  require(extension != nullptr);
  return extension;
}

void add_extension(X509* certificate, X509* issuer, const Extension& text) {
  require(X509_add_ext(certificate, make_extension(certificate, issuer, text).get(), -1) == 1);
}

// Self-signed without an issuer. `subject_key` need only be the public half.
Certificate make_certificate(const CertificateText& text, EVP_PKEY* subject_key, const Certificate* issuer,
                             EVP_PKEY* signer) {
  X509Ptr certificate(X509_new());
  X509* raw = certificate.get();
  X509* issuer_x509 = issuer != nullptr ? issuer->x509() : raw;
  require(X509_set_version(raw, X509_VERSION_3) == 1 &&
          X509_set_serialNumber(raw, SerialNumber::random().asn1().get()) == 1 &&
          X509_set_pubkey(raw, subject_key) == 1);
  BytesView name = as_bytes(text.common_name);
  require(X509_NAME_add_entry_by_NID(X509_get_subject_name(raw), NID_commonName, MBSTRING_UTF8, name.data(),
                                     static_cast<int>(name.size()), -1, 0) == 1 &&
          X509_set_issuer_name(raw, X509_get_subject_name(issuer_x509)) == 1);
  set_time(raw, X509_set1_notBefore, text.not_before);
  set_time(raw, X509_set1_notAfter, text.not_after);
  for (const Extension& extension : text.extensions) add_extension(raw, issuer_x509, extension);
  add_extension(raw, issuer_x509, {NID_subject_key_identifier, "hash"});
  if (issuer != nullptr) add_extension(raw, issuer_x509, {NID_authority_key_identifier, "keyid:always"});
  bool takes_digest = EVP_PKEY_is_a(signer, "ED25519") == 0;
  require(X509_sign(raw, signer, takes_digest ? EVP_sha256() : nullptr) > 0);
  // Parsed anew: as built, it holds a key that may sign but not verify.
  return Certificate::from_der(to_der(i2d_X509, static_cast<const X509*>(raw)));
}

std::string alternative_names(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    const char* kind = address_octets(name) ? "IP" : "DNS";
    text += fmt::format("{}{}:{}", text.empty() ? "" : ",", kind, name);
  }
  return text;
}

bool has_names(const Certificate& certificate, const std::vector<std::string>& names) {
  X509ExtensionPtr wanted =
      make_extension(nullptr, nullptr, {NID_subject_alt_name, alternative_names(names)});
  int place = X509_get_ext_by_NID(certificate.x509(), NID_subject_alt_name, -1);
  return place >= 0 && ASN1_OCTET_STRING_cmp(X509_EXTENSION_get_data(X509_get_ext(certificate.x509(), place)),
                                             X509_EXTENSION_get_data(wanted.get())) == 0;
}

}  // namespace

Certificate make_root(const std::string& name, const PublicKey& public_key, EVP_PKEY* key, Time now) {
  return make_certificate({.common_name = name,
                           .not_before = now,
                           .not_after = kNoExpiry,
                           .extensions = {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                                          {NID_key_usage, "critical,keyCertSign,cRLSign"}}},
                          public_key.evp(), nullptr, key);
}

Certificate make_server_certificate(const std::vector<std::string>& names, const PublicKey& public_key,
                                    const CertifiedKey& root, Time now) {
  return make_certificate({.common_name = names.front(),
                           .not_before = now,
                           .not_after = now + kServerLife,
                           .extensions = {{NID_basic_constraints, "critical,CA:FALSE"},
                                          {NID_key_usage, "critical,digitalSignature"},
                                          {NID_ext_key_usage, "serverAuth"},
                                          {NID_subject_alt_name, alternative_names(names)}}},
                          public_key.evp(), &root.certificate, root.key.get());
}

bool is_server_name(const std::string& name) {
  constexpr std::size_t kMaximum = 64;  // ub-common-name, RFC 5280 appendix A.1
  return name.size() <= kMaximum && !is_every_address(name) && (address_octets(name) || is_dns_name(name));
}

bool is_due(const Certificate& certificate, const std::vector<std::string>& names, Time now) {
  if (!has_names(certificate, names)) return true;
  return certificate.not_after() - now < (certificate.not_after() - certificate.not_before()) / 3;
}

Certificate make_device_certificate(const DeviceId& id, EVP_PKEY* device_key, const CertifiedKey& root,
                                    Time now, std::chrono::days lasts) {
  return make_certificate({.common_name = id.text(),
                           .not_before = now,
                           .not_after = now + lasts,
                           .extensions = {{NID_basic_constraints, "critical,CA:FALSE"},
                                          {NID_key_usage, "critical,digitalSignature"},
                                          {NID_ext_key_usage, "clientAuth"}}},
                          device_key, &root.certificate, root.key.get());
}

CertifiedKey make_provisioning_key(const std::string& name, Time now, Time expires) {
  EvpPkeyPtr key = make_device_key();
  // A blank is in no device ID: a gateway that took this for a device would still not have a name for it.
  Certificate certificate = make_certificate({.common_name = "provisioning key " + name,
                                              .not_before = now,
                                              .not_after = expires,
                                              .extensions = {{NID_basic_constraints, "critical,CA:FALSE"},
                                                             {NID_key_usage, "critical,digitalSignature"},
                                                             {NID_ext_key_usage, "clientAuth"}}},
                                             key.get(), nullptr, key.get());
  return {std::move(certificate), std::move(key)};
}

EvpPkeyPtr make_device_key() {
  EvpPkeyPtr key(EVP_EC_gen("P-256"));
  if (!key) throw openssl_error(ErrorCode::internal, "cannot make a key", "report this");
  return key;
}

Bytes to_pkcs12(const std::string& name, EVP_PKEY* key, const Certificate& certificate,
                const Certificate& root) {
  X509StackPtr roots = to_stack({root});
  Pkcs12Ptr bundle(PKCS12_create("", name.c_str(), key, certificate.x509(), roots.get(), 0, 0, 0, 0, 0));
  if (!bundle) throw openssl_error(ErrorCode::internal, "cannot make a PKCS#12 file", "report this");
  return to_der(i2d_PKCS12, static_cast<const PKCS12*>(bundle.get()));
}

}  // namespace fleetroot::gateway
