// A certificate revocation list (RFC 5280 section 5), read strictly: complete or delta, of one issuer, for
// all of its certificates. What restricts a list in a way that we do not follow (a part of the certificates,
// certificates of other issuers, a critical extension that is not known) is refused, never overlooked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/x509/certificate.h"
#include "lib/x509/revocation_reason.h"

namespace fleetroot {

struct Revocation {
  RevocationReason reason = RevocationReason::unspecified;
  Time date;
};

// Immutable. May be read from several threads. A look-up is a binary search; 100,000 entries take about 10
// MB.
class CertificateRevocationList {
 public:
  struct Entry {
    SerialNumber serial;
    Revocation revocation;
  };

  // Error(bad_request) says what is wrong with it. Reading a list proves nothing: verify() does.
  static CertificateRevocationList from_der(BytesView der);
  // Exactly one.
  static CertificateRevocationList from_pem(std::string_view pem);  // or DER

  // Error(certificate_rejected) unless `issuer` signed it: the name byte for byte, the key identifier, the
  // right to sign CRLs (keyUsage cRLSign), the signature, and no digest or key below 112 bits of security.
  // The caller says whether `issuer` is to be trusted.
  void verify(const Certificate& issuer) const;
  // Past nextUpdate: a newer one should have come. It revokes what it revokes all the same.
  bool is_overdue(Time now) const { return now > next_update_; }

  // One line, RFC 2253.
  const std::string& issuer() const { return issuer_; }
  // Of the issuer's key, hexadecimal.
  const std::string& authority_key_identifier() const { return authority_key_identifier_; }
  // Complete and delta lists of one issuer share one sequence.
  std::uint64_t number() const { return number_; }
  // For a delta list: the number of the complete one that it goes with. A delta list may be applied to any
  // complete list with that number or a higher one, as long as that is not newer than the delta itself.
  std::optional<std::uint64_t> delta_base() const { return delta_base_; }
  Time this_update() const { return this_update_; }
  Time next_update() const { return next_update_; }

  std::optional<Revocation> find(const SerialNumber& serial) const;
  // removeFromCRL, which only a delta list may say, is no revocation.
  bool is_revoked(const SerialNumber& serial) const;
  // By serial number, each once.
  const std::vector<Entry>& entries() const { return entries_; }

  const Bytes& der() const { return der_; }
  std::string pem() const;
  std::string fingerprint() const { return sha256_hex(der_); }

 private:
  CertificateRevocationList() = default;

  Bytes der_;
  std::string issuer_;
  std::string authority_key_identifier_;
  std::uint64_t number_ = 0;
  std::optional<std::uint64_t> delta_base_;
  Time this_update_;
  Time next_update_;
  std::vector<Entry> entries_;
};

}  // namespace fleetroot
