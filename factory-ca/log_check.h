// The log against the tables that it tells of: whoever edits a table is found out by the entries, which are
// chained (docs/formats.md, "Audit log").
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "factory-ca/ledger.h"

namespace fleetroot::ca {

struct LoggedEvent {
  long long entry = 0;
  std::string event;
  nlohmann::json details;

  // Error(io) unless what the ledger holds is what this entry says in this member. `of` is whose.
  void refuse_unless_said(const std::string& of, const char* member, const nlohmann::json& held) const;
  // The same where an older entry may lack the member.
  void refuse_unless_said_or_silent(const std::string& of, const char* member,
                                    const nlohmann::json& held) const;
};

// Error(io): somebody changed the ledger.
Error broken(std::string what);

// What an earlier entry began, and this one goes on with. Error(io) if there is none.
template <typename Key, typename Begun>
Begun& begun_before(std::map<Key, Begun>& logged, const Key& key, const LoggedEvent& event) {
  auto found = logged.find(key);
  if (found != logged.end()) return found->second;
  throw broken("no entry of the log began what its entry " + std::to_string(event.entry) + " is about");
}

// Hears all entries, in order, and then that there are no more. Throws Error(io) to say what is wrong, or
// nlohmann::json::exception for an entry that lacks what it must have.
class LogCheck {
 public:
  LogCheck() = default;
  LogCheck(const LogCheck&) = delete;
  LogCheck& operator=(const LogCheck&) = delete;
  virtual ~LogCheck() = default;

  virtual void take(const LoggedEvent& event) = 0;
  // For what no entry is about.
  virtual void finish() {}
};

// One for each table; the ledger must outlive it.
std::unique_ptr<LogCheck> check_certificates(Ledger& ledger);
std::unique_ptr<LogCheck> check_orders(Ledger& ledger);
std::unique_ptr<LogCheck> check_station_orders(Ledger& ledger);
std::unique_ptr<LogCheck> check_reworks(Ledger& ledger);
std::unique_ptr<LogCheck> check_scrapped_devices(Ledger& ledger);
std::unique_ptr<LogCheck> check_revocation_lists(Ledger& ledger);
std::unique_ptr<LogCheck> check_bundles(Ledger& ledger);

}  // namespace fleetroot::ca
