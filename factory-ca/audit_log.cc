#include "factory-ca/audit_log.h"

#include <fmt/format.h>

#include "lib/base/error.h"
#include "lib/x509/openssl.h"

namespace fleetroot::ca {
namespace {

// What the first entry follows.
const std::string kBeginning(64, '0');

std::string digest_of(const std::string& previous, const std::string& entry) {
  std::string chained = previous;
  chained.append("\n").append(entry);
  return sha256_hex(as_bytes(chained));
}

}  // namespace

void AuditLog::append(std::string_view event, Time now, nlohmann::json details) {
  details["event"] = event;
  details["time"] = format_time(now);
  std::string entry = details.dump();
  Checkpoint last = checkpoint();
  std::string digest = digest_of(last.digest, entry);
  long long sequence = last.sequence + 1;
  database_.change("INSERT INTO log (sequence, entry, digest) VALUES (:sequence, :entry, :digest)",
                   soci::use(sequence), soci::use(entry), soci::use(digest));
}

Checkpoint AuditLog::checkpoint() {
  Checkpoint last{.sequence = 0, .digest = kBeginning};
  database_.row("SELECT sequence, digest FROM log ORDER BY sequence DESC LIMIT 1", soci::into(last.sequence),
                soci::into(last.digest));
  return last;
}

Checkpoint AuditLog::verify(const std::function<void(const LogEntry&)>& look) {
  return with_store_errors([&] {
    Checkpoint last{.sequence = 0, .digest = kBeginning};
    LogEntry found;
    soci::statement rows =
        (database_.sql().prepare << "SELECT sequence, entry, digest FROM log ORDER BY sequence",
         soci::into(found.sequence), soci::into(found.entry), soci::into(found.digest));
    rows.execute();
    while (rows.fetch()) {
      if (found.sequence != last.sequence + 1 || found.digest != digest_of(last.digest, found.entry)) {
        throw Error(
            ErrorCode::io,
            fmt::format("entry {} of the log does not follow from entry {}", found.sequence, last.sequence),
            "stop issuing and keep the ledger: somebody changed it, or the disk did");
      }
      last = {.sequence = found.sequence, .digest = found.digest};
      if (look) look(found);
    }
    return last;
  });
}

}  // namespace fleetroot::ca
