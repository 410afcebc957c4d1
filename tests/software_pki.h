// Keys, requests and certificates made in memory, good ones and bad ones, for tests that need no token.
#pragma once

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/x509/certificate.h"
#include "lib/x509/certificate_request.h"

namespace fleetroot {

inline EvpPkeyPtr software_key(KeyAlgorithm algorithm = KeyAlgorithm::p256) {
  switch (algorithm) {
    case KeyAlgorithm::p256:
      return EvpPkeyPtr(EVP_EC_gen("P-256"));
    case KeyAlgorithm::p384:
      return EvpPkeyPtr(EVP_EC_gen("P-384"));
    case KeyAlgorithm::rsa2048:
      return EvpPkeyPtr(EVP_RSA_gen(2048));
    case KeyAlgorithm::rsa3072:
      return EvpPkeyPtr(EVP_RSA_gen(3072));
    case KeyAlgorithm::ed25519:
      return EvpPkeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  }
  return nullptr;
}

inline void set_common_name(X509_NAME* name, std::string_view text) {
  // Not MBSTRING_UTF8, which refuses what a bad certificate has: nothing, or more than 64 characters.
  X509_NAME_add_entry_by_NID(name, NID_commonName, V_ASN1_UTF8STRING, as_bytes(text).data(),
                             static_cast<int>(text.size()), -1, 0);
}

// {"basicConstraints", "critical,CA:TRUE"}, as openssl.cnf writes them
using ExtensionTexts = std::vector<std::pair<std::string, std::string>>;

inline X509ExtensionPtr make_extension(const std::pair<std::string, std::string>& text,
                                       X509* subject = nullptr, X509* issuer = nullptr) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, subject, nullptr, nullptr, 0);
  X509V3_set_ctx_nodb(&context);
  X509ExtensionPtr extension(X509V3_EXT_nconf(nullptr, &context, text.first.c_str(), text.second.c_str()));
  EXPECT_NE(extension, nullptr) << text.first << ": " << take_openssl_errors();
  return extension;
}

inline const Time kTestTime{std::chrono::sys_days{std::chrono::year{2026} / 11 / 24}};

// A certificate and the key that belongs to it.
struct Identity {
  Certificate certificate;
  EvpPkeyPtr key;
};

struct CertificateText {
  std::string common_name;
  ExtensionTexts extensions;
  std::chrono::seconds begins_before = std::chrono::hours(24);
  std::chrono::seconds ends_after = std::chrono::hours(24 * 365);
  const EVP_MD* digest = EVP_sha256();
  std::vector<std::string> more_common_names{};
  std::optional<int> serial{};
};

// Self-signed if there is no issuer.
inline Identity issue(const CertificateText& text, const Identity* issuer = nullptr,
                      EvpPkeyPtr key = nullptr) {
  if (!key) key = software_key();
  X509Ptr certificate(X509_new());
  X509* signer = issuer != nullptr ? issuer->certificate.x509() : certificate.get();
  EVP_PKEY* signing_key = issuer != nullptr ? issuer->key.get() : key.get();
  X509_set_version(certificate.get(), X509_VERSION_3);
  X509_set_serialNumber(certificate.get(), SerialNumber::random().asn1().get());
  if (text.serial) ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), *text.serial);
  X509_set_pubkey(certificate.get(), key.get());
  set_common_name(X509_get_subject_name(certificate.get()), text.common_name);
  for (const std::string& name : text.more_common_names) {
    set_common_name(X509_get_subject_name(certificate.get()), name);
  }
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(signer));
  ASN1_TIME_set(X509_getm_notBefore(certificate.get()),
                (kTestTime - text.begins_before).time_since_epoch().count());
  ASN1_TIME_set(X509_getm_notAfter(certificate.get()),
                (kTestTime + text.ends_after).time_since_epoch().count());
  ExtensionTexts extensions = text.extensions;
  extensions.insert(extensions.begin(), {"subjectKeyIdentifier", "hash"});
  if (issuer != nullptr) extensions.push_back({"authorityKeyIdentifier", "keyid"});
  for (const auto& extension : extensions) {
    X509_add_ext(certificate.get(), make_extension(extension, certificate.get(), signer).get(), -1);
  }
  bool is_ed25519 = EVP_PKEY_get_base_id(signing_key) == EVP_PKEY_ED25519;
  EXPECT_GT(X509_sign(certificate.get(), signing_key, is_ed25519 ? nullptr : text.digest), 0)
      << take_openssl_errors();
  // Parsed anew: as built, it holds `key` itself, and a key in a token signs but does not verify.
  return {Certificate::from_der(to_der(i2d_X509, static_cast<const X509*>(certificate.get()))),
          std::move(key)};
}

inline const ExtensionTexts kCaExtensions{{"basicConstraints", "critical,CA:TRUE"},
                                          {"keyUsage", "critical,keyCertSign,cRLSign"}};
inline const ExtensionTexts kClientExtensions{{"basicConstraints", "critical,CA:FALSE"},
                                              {"keyUsage", "critical,digitalSignature"},
                                              {"extendedKeyUsage", "clientAuth"}};
inline const ExtensionTexts kServerExtensions{{"basicConstraints", "critical,CA:FALSE"},
                                              {"keyUsage", "critical,digitalSignature"},
                                              {"extendedKeyUsage", "serverAuth"}};

}  // namespace fleetroot
