#include "factory-ca/bundle_ledger.h"

#include <fmt/format.h>

namespace fleetroot::ca {
namespace {

std::optional<BundleRecord> select_one(Database& database, const std::string& where,
                                       const std::string& value) {
  BundleRecord record;
  bool found =
      database.row(fmt::format("SELECT station, signer, sequence, digest, reply_digest, order_id, "
                               "answered_at FROM bundles WHERE {}",
                               where),
                   soci::use(value), soci::into(record.station), soci::into(record.signer),
                   soci::into(record.sequence), soci::into(record.digest), soci::into(record.reply_digest),
                   soci::into(record.order), soci::into(record.answered_at));
  return found ? std::optional(record) : std::nullopt;
}

}  // namespace

std::optional<BundleRecord> BundleLedger::with_digest(const std::string& digest) {
  return select_one(database_, "digest = :digest", digest);
}

std::optional<BundleRecord> BundleLedger::last(const std::string& station) {
  return select_one(database_, "station = :station ORDER BY id DESC LIMIT 1", station);
}

long long BundleLedger::count() {
  long long count = 0;
  database_.row("SELECT count(*) FROM bundles", soci::into(count));
  return count;
}

bool BundleLedger::has_any_of(const std::string& station, const std::string& signer) {
  return with_store_errors([&] {
    long long count = 0;
    database_.sql() << "SELECT COUNT(*) FROM bundles WHERE station = :station AND signer = :signer",
        soci::use(station), soci::use(signer), soci::into(count);
    return count > 0;
  });
}

void BundleLedger::append(const BundleRecord& record) {
  with_store_errors([&] {
    database_.sql() << "INSERT INTO bundles (station, signer, sequence, digest, reply_digest, order_id, "
                       "answered_at) VALUES (:station, :signer, :sequence, :digest, :reply_digest, "
                       ":order_id, :answered_at)",
        soci::use(record.station), soci::use(record.signer), soci::use(record.sequence),
        soci::use(record.digest), soci::use(record.reply_digest), soci::use(record.order),
        soci::use(record.answered_at);
  });
}

}  // namespace fleetroot::ca
