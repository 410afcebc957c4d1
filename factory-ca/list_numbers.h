// The numbers of revocation lists, and which of them were published.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "lib/base/clock.h"
#include "lib/store/database.h"

namespace fleetroot::ca {

struct PublishedList {
  std::uint64_t number = 0;
  Time this_update;
};

// A number as the ledger has it.
struct ListRecord {
  std::string issuer_key_id;
  long long number = 0;
  long long base = 0;
  Time this_update;
  bool is_published = false;
};

// Calls that change something belong into a WriteTransaction. Each issuer's numbers only rise, and complete
// and delta lists share them; one that was reserved and never published leaves a gap, which is allowed.
class ListNumbers {
 public:
  explicit ListNumbers(Database& database) : database_(database) {}

  std::uint64_t next_number(const std::string& issuer_key_id);
  // The last that was published: complete ones only, or of both kinds.
  std::optional<PublishedList> last_complete(const std::string& issuer_key_id);
  std::optional<PublishedList> last(const std::string& issuer_key_id);
  void reserve(const std::string& issuer_key_id, std::uint64_t number, std::uint64_t base, Time this_update,
               const std::string& tbs_digest);
  void publish(const std::string& issuer_key_id, std::uint64_t number);
  // All of all issuers.
  void each(const std::function<void(const ListRecord&)>& look);
  // Lists from later than now count as never published from here on. How many there were.
  long long disown_later(const std::string& issuer_key_id, Time now);

 private:
  std::optional<PublishedList> last_where(const std::string& issuer_key_id, const char* condition);
  Database& database_;
};

}  // namespace fleetroot::ca
