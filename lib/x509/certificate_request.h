// A PKCS#10 certificate request (RFC 2986).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lib/x509/device_id.h"
#include "lib/x509/openssl.h"
#include "lib/x509/public_key.h"

namespace fleetroot {

// Who is asking: a device or a station, which may never become a CA, or a CA that asks the one above it.
enum class RequestKind { end_entity, authority };

class CertificateRequest {
 public:
  // Both parse only; call refuse_unless_sound() before believing anything in it. Error(bad_request), also for
  // a key that PublicKey does not take.
  static CertificateRequest from_der(BytesView der);
  static CertificateRequest from_pem(std::string_view pem);  // or DER

  // CN = `common_name`, the public key, the statement if not empty, and an authority's wish to be a CA;
  // signed by `signer`, whose public half `public_key` is. Verified in software: Error(token_untrusted) if
  // that fails, or what the signer threw.
  static CertificateRequest create(std::string_view common_name, const PublicKey& public_key,
                                   EVP_PKEY* signer, std::string_view statement_json = {},
                                   RequestKind kind = RequestKind::end_entity);

  // What a CA refuses whatever its policy (Error(bad_request), one reason each): a version other than 1, a
  // subject without exactly one CN, a signature that does not verify or is not one of ours (SHA-1, MD5), an
  // end entity's request for CA rights, an authority's that does not ask to be a CA, an unknown critical
  // extension, a malformed statement.
  // What else it asks for is not refused, because nothing of it ever gets into a certificate.
  void refuse_unless_sound(RequestKind kind = RequestKind::end_entity) const;

  X509_REQ* x509_req() const { return request_.get(); }
  Bytes der() const;
  std::string pem() const;
  // The subject's one CN; Error(bad_request) if there is not exactly one, or it is no plain text.
  std::string common_name() const;
  const PublicKey& public_key() const { return public_key_; }
  // The provisioning statement's JSON, where the request carries one.
  std::optional<std::string> statement_json() const;

 private:
  explicit CertificateRequest(X509ReqPtr request);
  X509ReqPtr request_;
  PublicKey public_key_;
};

// Makes the key sign, a request that nobody gets, and the signature verify. Throws as create() does.
void refuse_unless_signs(const PublicKey& public_key, EVP_PKEY* signer);

}  // namespace fleetroot
