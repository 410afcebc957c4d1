// What one environment believes, kept ready for many checks: its Fleet Roots and what is revoked under them.
// Immutable; any thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "device-gateway/refusal.h"
#include "lib/x509/certificate.h"
#include "lib/x509/crl.h"

namespace fleetroot::gateway {

// From the device's certificate to the Fleet Root, both included.
using Path = std::vector<Certificate>;

class Trust {
 public:
  // The lists are believed: `crl import` has verified them.
  Trust(std::vector<Certificate> roots, std::vector<CertificateRevocationList> lists);

  // The path of the presented chain, device first, to one of the roots: signatures, validity now, usages,
  // path lengths, name constraints, strength (RFC 5280 section 6), for a TLS client. Or why there is none.
  std::variant<Path, Refusal> path_of(std::span<const Certificate> presented, Time now) const;

  // Whether there is one, whichever way through the presented certificates: path_of() takes the first that
  // fits at each step, and a CA may be certified by several.
  bool is_reached_by(std::span<const Certificate> presented, Time now) const;

  // Why one on the path may no longer be believed; nothing if no list names it. Error(bad_request) if a list
  // is asked for a serial number that is not positive.
  std::optional<Refusal> revocation_on(const Path& path) const;

  const std::vector<Certificate>& roots() const { return roots_; }

 private:
  struct Lists {
    std::optional<CertificateRevocationList> complete;
    std::optional<CertificateRevocationList> delta;
    std::optional<Revocation> find(const SerialNumber& serial) const;
  };

  bool is_reached_from(std::vector<Certificate>& way, std::span<const Certificate> presented, Time now) const;
  Refusal refusal_of(const X509_STORE_CTX* context) const;
  bool has_root_named(const X509_NAME* name) const;

  std::vector<Certificate> roots_;
  X509StorePtr store_;
  std::map<std::string, Lists> lists_;  // by the issuer's subject key identifier
};

}  // namespace fleetroot::gateway
