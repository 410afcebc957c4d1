// Which bundles of which stations were answered, in which order, and with what. docs/formats.md has the rules
// of the chain; bundle_check.h applies them.
#pragma once

#include <optional>
#include <string>

#include "lib/base/clock.h"
#include "lib/store/database.h"

namespace fleetroot::ca {

struct BundleRecord {
  std::string station;
  std::string signer;  // key identifier of the station's certificate that signed it, hexadecimal
  long long sequence = 0;
  std::string digest;        // SHA-256 of what was signed
  std::string reply_digest;  // and of the whole document that answered it
  std::string order;
  std::string answered_at;
};

// Calls that change something belong into a WriteTransaction.
class BundleLedger {
 public:
  explicit BundleLedger(Database& database) : database_(database) {}

  std::optional<BundleRecord> with_digest(const std::string& digest);
  // The one that this station's next must follow.
  std::optional<BundleRecord> last(const std::string& station);
  long long count();
  bool has_any_of(const std::string& station, const std::string& signer);

  void append(const BundleRecord& record);

 private:
  Database& database_;
};

}  // namespace fleetroot::ca
