// The log of everything that the CA did: each entry carries the digest of the one before it, so whoever kept
// a digest sees any later edit, deletion, reordering or truncation (docs/formats.md, "Audit log").
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "lib/base/clock.h"
#include "lib/store/database.h"

namespace fleetroot::ca {

// Where the log stands: how many entries, and the digest of the last.
struct Checkpoint {
  long long sequence = 0;
  std::string digest;
};

struct LogEntry {
  long long sequence = 0;
  // Canonical JSON: {"event":…,"time":…, and what the event carries}.
  std::string entry;
  std::string digest;
};

class AuditLog {
 public:
  explicit AuditLog(Database& database) : database_(database) {}

  // Only inside a WriteTransaction: an event and its log entry are committed together.
  void append(std::string_view event, Time now, nlohmann::json details);

  Checkpoint checkpoint();
  // Walks the chain from the first entry and shows each to `look`. Error(io) names the first entry that does
  // not follow from the one before it.
  Checkpoint verify(const std::function<void(const LogEntry&)>& look = {});

 private:
  Database& database_;
};

}  // namespace fleetroot::ca
