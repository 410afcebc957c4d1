#include "tool/placeholder.h"

#include "lib/x509/signature.h"

namespace fleetroot::station {

Certificate make_placeholder(const DeviceId& device_id, const PublicKey& public_key, EVP_PKEY* signer,
                             Time now) {
  constexpr std::chrono::hours kLifetime{24 * 30};
  auto seconds = [](Time time) { return static_cast<time_t>(time.time_since_epoch().count()); };
  X509Ptr certificate(X509_new());
  X509_NAME* name = X509_get_subject_name(certificate.get());
  bool built =
      X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
      X509_set_serialNumber(certificate.get(), SerialNumber::random().asn1().get()) == 1 &&
      X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, as_bytes(device_id.text()).data(),
                                 static_cast<int>(device_id.text().size()), -1, 0) == 1 &&
      X509_set_issuer_name(certificate.get(), name) == 1 &&
      ASN1_TIME_set(X509_getm_notBefore(certificate.get()), seconds(now)) != nullptr &&
      ASN1_TIME_set(X509_getm_notAfter(certificate.get()), seconds(now + kLifetime)) != nullptr &&
      X509_set_pubkey(certificate.get(), public_key.evp()) == 1;
  let_openssl_sign(
      [&] { return built && X509_sign(certificate.get(), signer, digest_for(public_key.algorithm())) > 0; },
      {ErrorCode::token_untrusted, "the token did not sign its placeholder certificate",
       "run the same command again; if it fails again, replace the token"});
  return Certificate(std::move(certificate));
}

}  // namespace fleetroot::station
