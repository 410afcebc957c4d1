// A registration authority (RFC 4210 section 3.1.1.3): whoever has found out by its own means which station
// asks, as EST does in TLS, and hands the station's PKCS#10 on to the CA in a p10cr of its own. Both share a
// secret, which protects the request and its answer (message_mac.h).
#pragma once

#include <string>

#include "lib/cmp/client.h"

namespace fleetroot::cmp {

// Any number of threads, if `transfer` takes them.
class RegistrationAuthority {
 public:
  // `ca` is the recipient; `secret` what its responder trusts (Responder::trust).
  RegistrationAuthority(const Certificate& ca, std::string secret);

  // The certificate, as DER, for a PKCS#10 that may be anything; there is no confirmation. Throws what the CA
  // refuses with, what `transfer` throws, and Error(protocol) if the answer is not from who knows the secret.
  Bytes enroll(BytesView request, Behalf behalf, const Transfer& transfer) const;

 private:
  Bytes ca_name_;
  std::string secret_;
};

}  // namespace fleetroot::cmp
