// Revocation lists (RFC 5280 section 5): what goes into the next one, its bytes, and how it is published.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "factory-ca/authority.h"
#include "lib/base/clock.h"
#include "lib/x509/crl.h"

namespace fleetroot::ca {

struct RevocationEntry {
  std::string serial;
  RevocationReason reason = RevocationReason::unspecified;
  Time date;
};

struct ListPlan {
  std::uint64_t number = 0;
  std::uint64_t base = 0;  // of a delta list; 0 for a complete one
  Time this_update;
  Time next_update;
  std::vector<RevocationEntry> entries;
};

// The TBSCertList (RFC 5280 section 5.1.2), as DER.
Bytes encode_list(const ListPlan& plan, const IssuerFacts& issuer);

enum class ListKind { complete, delta };

struct WantedList {
  ListKind kind = ListKind::complete;
  Validity validity;  // from thisUpdate to nextUpdate
  // Lists from later than now were a wrong clock's: they count as never published, so that this one may be
  // from now, and names all that they named. Revocations from later than now are dated as this list.
  bool clock_was_ahead = false;
  // Lists of this issuer that are there, complete and delta. The ledger knows them, unless it is from a
  // back-up: numbers go on behind them all the same, and what they name stays named.
  std::vector<CertificateRevocationList> held{};
};

// What the next list must say: every certificate of this issuer that was revoked; for a delta list, since the
// last complete one. An entry leaves after it has stood on a complete list that was made when its certificate
// had expired already (RFC 5280 section 5). Inside a WriteTransaction. Error(clock) if a certificate, a
// revocation or a list is from later than now; Error(configuration) for a delta list without a complete one
// before it that the ledger knows, and if a held list names what the ledger has as issued.
ListPlan plan_list(Ledger& ledger, const std::string& issuer_key_id, const WantedList& wanted, Time now);

// Numbers, signs and judges a list, and has `write` put it where it belongs; published it is when that
// returns. One process at a time, which the caller sees to, so that what is written last is the newest.
// Throws as plan_list(), with nothing changed.
CertificateRevocationList publish_list(Ledger& ledger, const Signer& signer, const Certificate& issuer,
                                       const WantedList& wanted, const Clock& clock,
                                       const std::function<void(const CertificateRevocationList&)>& write);

}  // namespace fleetroot::ca
