#include "tool/journal.h"

#include <fmt/format.h>
#include <soci/sqlite3/soci-sqlite3.h>

#include <array>
#include <nlohmann/json.hpp>

namespace fleetroot::station {
namespace {

constexpr std::array<std::string_view, 7> kMigrations{
    R"sql(
CREATE TABLE devices (
  device_id   TEXT PRIMARY KEY,
  token       TEXT NOT NULL UNIQUE,
  order_id    TEXT NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('planned', 'provisioned')),
  preset      TEXT NOT NULL,
  algorithm   TEXT NOT NULL,
  inventory   TEXT NOT NULL,
  certificate TEXT NOT NULL DEFAULT '',
  chain       TEXT NOT NULL DEFAULT '',
  planned_at  TEXT NOT NULL,
  finished_at TEXT NOT NULL DEFAULT '');
CREATE TABLE wrong_pins (
  token TEXT PRIMARY KEY,
  count INTEGER NOT NULL);
)sql",
    R"sql(
CREATE TABLE media_requests (
  device_id   TEXT PRIMARY KEY,
  order_id    TEXT NOT NULL,
  digest      TEXT NOT NULL,
  public_key  TEXT NOT NULL,
  bundle      INTEGER NOT NULL DEFAULT 0,
  certificate TEXT NOT NULL DEFAULT '',
  refusal     TEXT NOT NULL DEFAULT '',
  queued_at   TEXT NOT NULL);
CREATE TABLE media_receipts (
  serial    TEXT PRIMARY KEY,
  device_id TEXT NOT NULL,
  order_id  TEXT NOT NULL,
  accepted  INTEGER NOT NULL,
  bundle    INTEGER NOT NULL DEFAULT 0);
CREATE TABLE media_bundles (
  sequence    INTEGER PRIMARY KEY,
  digest      TEXT NOT NULL,
  order_id    TEXT NOT NULL,
  sent_at     TEXT NOT NULL,
  answered_at TEXT NOT NULL DEFAULT '');
)sql",
    // A device may have been on several tokens.
    R"sql(
ALTER TABLE devices RENAME TO devices_1;
CREATE TABLE devices (
  token       TEXT PRIMARY KEY,
  device_id   TEXT NOT NULL,
  order_id    TEXT NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('planned', 'provisioned', 'replaced')),
  preset      TEXT NOT NULL,
  algorithm   TEXT NOT NULL,
  inventory   TEXT NOT NULL,
  certificate TEXT NOT NULL DEFAULT '',
  chain       TEXT NOT NULL DEFAULT '',
  planned_at  TEXT NOT NULL,
  finished_at TEXT NOT NULL DEFAULT '');
INSERT INTO devices SELECT token, device_id, order_id, state, preset, algorithm, inventory, certificate, chain,
  planned_at, finished_at FROM devices_1;
DROP TABLE devices_1;
CREATE INDEX tokens_by_device ON devices (device_id);
CREATE UNIQUE INDEX one_token_a_device ON devices (device_id) WHERE state = 'provisioned';
)sql",
    R"sql(
ALTER TABLE devices ADD COLUMN requested_key TEXT NOT NULL DEFAULT '';
)sql",
    // It said what the station believed, and not what was written onto the token.
    R"sql(
UPDATE devices SET chain = '';
)sql",
    // Of what a station asked before, it is not known whether an answer came.
    R"sql(
ALTER TABLE devices ADD COLUMN unanswered TEXT NOT NULL DEFAULT '[]';
UPDATE devices SET unanswered = '["' || order_id || '"]' WHERE state = 'planned' AND requested_key <> '' AND
  device_id NOT IN (SELECT device_id FROM media_requests);
)sql",
    // What a plan takes the place of, column by column as in devices, until the token has the device or is as
    // it was.
    R"sql(
CREATE TABLE devices_before_plans AS SELECT * FROM devices WHERE false;
CREATE UNIQUE INDEX one_before_a_plan ON devices_before_plans (token);
)sql"};

std::string_view name_of(DeviceState state) {
  switch (state) {
    case DeviceState::planned:
      return "planned";
    case DeviceState::provisioned:
      return "provisioned";
    case DeviceState::replaced:
      return "replaced";
  }
  return "";
}

DeviceState device_state_of(const std::string& name) {
  for (DeviceState state : {DeviceState::provisioned, DeviceState::replaced}) {
    if (name_of(state) == name) return state;
  }
  return DeviceState::planned;
}

std::string to_json(const std::vector<pkcs11::ObjectIdentity>& inventory) {
  nlohmann::json list = nlohmann::json::array();
  for (const pkcs11::ObjectIdentity& object : inventory) {
    list.push_back({static_cast<int>(object.object_class), object.id_hex, to_hex(as_bytes(object.label)),
                    object.digest});
  }
  return list.dump();
}

std::vector<pkcs11::ObjectIdentity> inventory_from_json(const std::string& json) {
  std::vector<pkcs11::ObjectIdentity> inventory;
  for (const nlohmann::json& object : nlohmann::json::parse(json)) {
    inventory.push_back(
        {.object_class = static_cast<pkcs11::ObjectClass>(object.at(0).get<int>()),
         .id_hex = object.at(1),
         .label = std::string(as_text(from_hex(object.at(2).get<std::string>()).value_or(Bytes{}))),
         .digest = object.at(3)});
  }
  return inventory;
}

std::string to_json(const std::set<std::string>& orders) {
  return nlohmann::json(orders).dump();
}

std::optional<DeviceRecord> read_device(soci::session& sql, std::string_view column,
                                        const std::string& value) {
  DeviceRecord record;
  std::string state;
  std::string inventory;
  std::string unanswered;
  std::string certificate;
  std::string chain;
  sql << fmt::format(
      "SELECT device_id, token, order_id, state, preset, algorithm, inventory, requested_key, unanswered, "
      "certificate, chain FROM devices "
      "WHERE {} = :value ORDER BY CASE state WHEN 'provisioned' THEN 0 ELSE 1 END, planned_at DESC LIMIT 1",
      column),
      soci::use(value), soci::into(record.device_id), soci::into(record.token), soci::into(record.order),
      soci::into(state), soci::into(record.preset), soci::into(record.algorithm), soci::into(inventory),
      soci::into(record.requested_key), soci::into(unanswered), soci::into(certificate), soci::into(chain);
  if (!sql.got_data()) return std::nullopt;
  record.state = device_state_of(state);
  record.inventory = inventory_from_json(inventory);
  record.unanswered = nlohmann::json::parse(unanswered).get<std::set<std::string>>();
  record.certificate = from_hex(certificate).value_or(Bytes{});
  if (!chain.empty()) record.chain = Certificate::list_from_pem(chain);
  return record;
}

void write_device(soci::session& sql, const DeviceRecord& record, const std::string& planned_at,
                  const std::string& finished_at) {
  std::string state(name_of(record.state));
  std::string inventory = to_json(record.inventory);
  std::string unanswered = to_json(record.unanswered);
  std::string certificate = to_hex(record.certificate);
  std::string chain = to_pem(record.chain);
  sql << "INSERT INTO devices (device_id, token, order_id, state, preset, algorithm, inventory, "
         "requested_key, unanswered, certificate, chain, planned_at, finished_at) VALUES (:device, :token, "
         ":order, :state, :preset, :algorithm, :inventory, :requested, :unanswered, :certificate, :chain, "
         ":planned, :finished) "
         "ON CONFLICT (token) DO UPDATE SET device_id = excluded.device_id, order_id = excluded.order_id, "
         "state = excluded.state, preset = excluded.preset, algorithm = excluded.algorithm, "
         "inventory = excluded.inventory, requested_key = excluded.requested_key, "
         "unanswered = excluded.unanswered, "
         "certificate = excluded.certificate, chain = excluded.chain, finished_at = excluded.finished_at",
      soci::use(record.device_id), soci::use(record.token), soci::use(record.order), soci::use(state),
      soci::use(record.preset), soci::use(record.algorithm), soci::use(inventory),
      soci::use(record.requested_key), soci::use(unanswered), soci::use(certificate), soci::use(chain),
      soci::use(planned_at), soci::use(finished_at);
}

// While it lives, writes do not wait for the disk: a power cut undoes them, up to the next that does wait.
class Unsynced {
 public:
  explicit Unsynced(soci::session& sql) : sql_(sql) { sql_ << "PRAGMA synchronous = NORMAL"; }
  Unsynced(const Unsynced&) = delete;
  Unsynced& operator=(const Unsynced&) = delete;
  // Whoever could not go back would promise what is on no disk: that ends the process.
  ~Unsynced() { sql_ << "PRAGMA synchronous = FULL"; }

 private:
  soci::session& sql_;
};

}  // namespace

bool DeviceRecord::has_key(const PublicKey& key) const {
  if (certificate.empty()) return requested_key == key.fingerprint();
  return Certificate::from_der(certificate).public_key() == key;
}

bool is_numbered(const pkcs11::TokenInfo& token) {
  return token.serial.find_first_not_of(token.serial.substr(0, 1)) != std::string::npos;
}

std::string token_identity(const pkcs11::TokenInfo& token, const std::optional<DeviceId>& device_id) {
  std::string identity = fmt::format("{}/{}/{}", token.manufacturer, token.model, token.serial);
  return is_numbered(token) || !device_id ? identity : fmt::format("{}/{}", identity, device_id->text());
}

std::vector<std::string> names_for_pins(const pkcs11::TokenInfo& token,
                                        const std::optional<DeviceId>& device_id) {
  std::string identity = token_identity(token, std::nullopt);
  if (is_numbered(token)) return {identity};
  std::vector<std::string> names{fmt::format("{}//{}", identity, token.label), identity};
  if (device_id) names.push_back(token_identity(token, device_id));
  return names;
}

Journal::Journal(const std::filesystem::path& file) : database_(file, kMigrations), media(database_) {}

std::optional<DeviceRecord> Journal::device(const DeviceId& device_id) {
  return with_store_errors([&] { return read_device(database_.sql(), "device_id", device_id.text()); });
}

std::optional<DeviceRecord> Journal::device_on_token(const std::string& token) {
  return with_store_errors([&] { return read_device(database_.sql(), "token", token); });
}

void Journal::plan(const DeviceRecord& record, Time now) {
  with_store_errors([&] {
    WriteTransaction transaction(database_);
    database_.sql() << "INSERT OR REPLACE INTO devices_before_plans SELECT * FROM devices "
                       "WHERE token = :token AND state <> 'planned'",
        soci::use(record.token);
    database_.sql() << "DELETE FROM devices WHERE token = :token", soci::use(record.token);
    write_device(database_.sql(), record, format_time(now), "");
    transaction.commit();
  });
}

void Journal::request(const DeviceRecord& record) {
  std::string unanswered = to_json(record.unanswered);
  with_store_errors([&] {
    database_.sql() << "UPDATE devices SET requested_key = :key, unanswered = :unanswered "
                       "WHERE token = :token",
        soci::use(record.requested_key), soci::use(unanswered), soci::use(record.token);
  });
}

void Journal::finish(const DeviceRecord& record, Time now) {
  with_store_errors([&] {
    WriteTransaction transaction(database_);
    database_.sql() << "UPDATE devices SET state = 'replaced' WHERE device_id = :device AND token <> :token",
        soci::use(record.device_id), soci::use(record.token);
    database_.sql() << "DELETE FROM devices_before_plans WHERE device_id = :device OR token = :token",
        soci::use(record.device_id), soci::use(record.token);
    write_device(database_.sql(), record, format_time(now), format_time(now));
    transaction.commit();
  });
}

void Journal::forget_plan(const std::string& token) {
  with_store_errors([&] {
    WriteTransaction transaction(database_);
    soci::session& sql = database_.sql();
    sql << "DELETE FROM devices WHERE token = :token AND state = 'planned'", soci::use(token);
    sql << "INSERT INTO devices SELECT * FROM devices_before_plans WHERE token = :token", soci::use(token);
    sql << "DELETE FROM devices_before_plans WHERE token = :token", soci::use(token);
    transaction.commit();
  });
}

unsigned Journal::wrong_pins(const std::vector<std::string>& names) {
  return with_store_errors([&] {
    unsigned sum = 0;
    for (const std::string& name : names) {
      int count = 0;
      database_.sql() << "SELECT count FROM wrong_pins WHERE token = :token", soci::use(name),
          soci::into(count);
      if (database_.sql().got_data()) sum += static_cast<unsigned>(count);
    }
    return sum;
  });
}

void Journal::count_wrong_pin(const std::vector<std::string>& names) {
  with_store_errors([&] {
    database_.sql() << "INSERT INTO wrong_pins (token, count) VALUES (:token, 1) "
                       "ON CONFLICT (token) DO UPDATE SET count = count + 1",
        soci::use(names.front());
  });
}

void Journal::take_wrong_pin_back(const std::vector<std::string>& names) {
  with_store_errors([&] {
    Unsynced unsynced(database_.sql());
    database_.sql() << "UPDATE wrong_pins SET count = count - 1 WHERE token = :token",
        soci::use(names.front());
    database_.sql() << "DELETE FROM wrong_pins WHERE token = :token AND count < 1", soci::use(names.front());
  });
}

void Journal::clear_wrong_pins(const std::vector<std::string>& names) {
  with_store_errors([&] {
    Unsynced unsynced(database_.sql());
    for (const std::string& name : names)
      database_.sql() << "DELETE FROM wrong_pins WHERE token = :token", soci::use(name);
  });
}

}  // namespace fleetroot::station
