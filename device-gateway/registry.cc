#include "device-gateway/registry.h"

#include <fmt/format.h>

#include <array>

#include "lib/x509/der.h"

namespace fleetroot::gateway {
namespace {

constexpr std::array<std::string_view, 3> kMigrations{R"sql(
CREATE TABLE changes (
  id         INTEGER PRIMARY KEY CHECK (id = 1),
  generation INTEGER NOT NULL);
INSERT INTO changes (id, generation) VALUES (1, 1);
CREATE TABLE fleet_roots (
  fingerprint TEXT PRIMARY KEY,
  environment TEXT NOT NULL,
  public_key  TEXT NOT NULL UNIQUE,
  certificate TEXT NOT NULL,
  added_at    TEXT NOT NULL);
CREATE TABLE devices (
  environment TEXT NOT NULL,
  device_id   TEXT NOT NULL,
  public_key  TEXT NOT NULL UNIQUE,
  certificate TEXT NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('admitted', 'blocked')),
  origin      TEXT NOT NULL CHECK (origin IN ('joined', 'provisioned')),
  joined_at   TEXT NOT NULL,
  PRIMARY KEY (environment, device_id)) WITHOUT ROWID;
CREATE TABLE superseded_keys (
  public_key  TEXT PRIMARY KEY,
  environment TEXT NOT NULL,
  device_id   TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE revocation_lists (
  environment TEXT NOT NULL,
  issuer_key  TEXT NOT NULL,
  is_delta    INTEGER NOT NULL,
  number      INTEGER NOT NULL,
  list        TEXT NOT NULL,
  PRIMARY KEY (environment, issuer_key, is_delta));
CREATE TABLE manifests (
  environment TEXT NOT NULL,
  ca          TEXT NOT NULL,
  order_id    TEXT NOT NULL,
  created     TEXT NOT NULL,
  digest      TEXT NOT NULL,
  PRIMARY KEY (environment, ca, order_id));
CREATE TABLE manifest_devices (
  environment TEXT NOT NULL,
  device_id   TEXT NOT NULL,
  public_key  TEXT NOT NULL,
  certificate TEXT NOT NULL,
  issued_at   TEXT NOT NULL,
  is_rework   INTEGER NOT NULL,
  PRIMARY KEY (environment, device_id)) WITHOUT ROWID;
CREATE TABLE credentials (
  name        TEXT PRIMARY KEY,
  environment TEXT NOT NULL,
  certificate TEXT NOT NULL UNIQUE,
  quota       INTEGER NOT NULL CHECK (quota > 0),
  used        INTEGER NOT NULL CHECK (used >= 0 AND used <= quota),
  expires     INTEGER NOT NULL,
  is_revoked  INTEGER NOT NULL,
  created_at  TEXT NOT NULL);
)sql",
                                                      R"sql(
CREATE TABLE revoked_certificates (
  environment TEXT NOT NULL,
  certificate TEXT NOT NULL,
  PRIMARY KEY (environment, certificate)) WITHOUT ROWID;
)sql",
                                                      // Whose key is not known here is known by the
                                                      // certificate alone, until a manifest names it again.
                                                      R"sql(
ALTER TABLE devices ADD COLUMN tbs TEXT NOT NULL DEFAULT '';
CREATE TABLE revoked_keys (
  environment TEXT NOT NULL,
  device_id   TEXT NOT NULL,
  public_key  TEXT NOT NULL,
  PRIMARY KEY (environment, device_id, public_key)) WITHOUT ROWID;
INSERT INTO revoked_keys (environment, device_id, public_key)
  SELECT environment, device_id, public_key FROM devices JOIN revoked_certificates USING (environment, certificate);
)sql"};

struct DeviceRow {
  std::string id, key, certificate, tbs, state, origin, joined_at;

  DeviceRecord record() const {
    return {.id = DeviceId::parse(id),
            .key = key,
            .certificate = certificate,
            .tbs = tbs,
            .state = state == "blocked" ? DeviceState::blocked : DeviceState::admitted,
            .origin = origin == "provisioned" ? DeviceOrigin::provisioned : DeviceOrigin::joined,
            .joined_at = joined_at};
  }
};

RootRecord root_record(const std::string& environment, const std::string& added_at, const std::string& der) {
  Certificate certificate = Certificate::from_der(from_hex(der).value_or(Bytes()));
  return {.environment = EnvironmentName::parse(environment),
          .fingerprint = certificate.fingerprint(),
          .added_at = added_at,
          .certificate = certificate};
}

}  // namespace

std::string key_digest(const Certificate& certificate) {
  return sha256_hex(
      to_der(i2d_X509_PUBKEY, static_cast<const X509_PUBKEY*>(X509_get_X509_PUBKEY(certificate.x509()))));
}

std::string tbs_digest(const Certificate& certificate) {
  static constexpr der::Blame kBlame{ErrorCode::bad_request, "this is not a certificate", "report this"};
  Bytes whole = certificate.der();
  return sha256_hex(der::Reader(whole, kBlame).enter(der::kSequence, "Certificate").take().whole);
}

std::string_view name_of(DeviceState state) {
  return state == DeviceState::blocked ? "blocked" : "admitted";
}

std::string_view name_of(DeviceOrigin origin) {
  return origin == DeviceOrigin::provisioned ? "provisioned" : "joined";
}

void refuse_if_lost(const std::filesystem::path& registry) {
  std::error_code absent;
  std::uintmax_t size = std::filesystem::file_size(registry, absent);
  if (!absent && size > 0) return;
  throw Error(ErrorCode::io,
              fmt::format("the registry {} is {}", registry.string(), absent ? "gone" : "empty"),
              "stop, and restore the back-up: a new one would know no Fleet Root, device or revocation");
}

// Prepared once: it is asked at every connection.
class Registry::DeviceLookUp {
 public:
  explicit DeviceLookUp(soci::session& sql)
      : statement_(
            (sql.prepare << "SELECT public_key, certificate, tbs, state, origin, joined_at FROM devices "
                            "WHERE environment = :environment AND device_id = :id",
             soci::use(environment_), soci::use(row_.id), soci::into(row_.key), soci::into(row_.certificate),
             soci::into(row_.tbs), soci::into(row_.state), soci::into(row_.origin),
             soci::into(row_.joined_at))) {}

  std::optional<DeviceRecord> find(const EnvironmentName& environment, const DeviceId& id) {
    environment_ = environment.text();
    row_.id = id.text();
    bool is_known = statement_.execute(true);
    std::optional<DeviceRecord> record = is_known ? std::optional(row_.record()) : std::nullopt;
    // A statement that is not at its end holds the database's snapshot.
    while (is_known) is_known = statement_.fetch();
    return record;
  }

 private:
  std::string environment_;
  DeviceRow row_;
  soci::statement statement_;
};

Registry::Registry(const std::filesystem::path& file)
    : database_(file, kMigrations),
      device_look_up_(with_store_errors([&] { return std::make_unique<DeviceLookUp>(database_.sql()); })) {}

Registry::~Registry() = default;

std::int64_t Registry::generation() {
  return with_store_errors([&] {
    long long generation = 0;
    database_.sql() << "SELECT generation FROM changes", soci::into(generation);
    return generation;
  });
}

void Registry::count_change() {
  database_.sql() << "UPDATE changes SET generation = generation + 1";
}

// ---- Fleet Roots ----

void Registry::add_root(const RootRecord& root) {
  with_store_errors([&] {
    std::string key = key_digest(root.certificate);
    std::string der = to_hex(root.certificate.der());
    database_.sql()
        << "INSERT INTO fleet_roots (fingerprint, environment, public_key, certificate, added_at) "
           "VALUES (:fingerprint, :environment, :key, :certificate, :added_at)",
        soci::use(root.fingerprint), soci::use(root.environment.text()), soci::use(key), soci::use(der),
        soci::use(root.added_at);
    count_change();
  });
}

std::vector<RootRecord> Registry::roots() {
  return with_store_errors([&] {
    std::vector<RootRecord> roots;
    std::string environment, added_at, der;
    soci::statement rows = (database_.sql().prepare << "SELECT environment, added_at, certificate "
                                                       "FROM fleet_roots ORDER BY environment, added_at",
                            soci::into(environment), soci::into(added_at), soci::into(der));
    rows.execute();
    while (rows.fetch()) roots.push_back(root_record(environment, added_at, der));
    return roots;
  });
}

std::optional<RootRecord> Registry::root_with_key(const std::string& key) {
  return with_store_errors([&]() -> std::optional<RootRecord> {
    std::string environment, added_at, der;
    database_.sql() << "SELECT environment, added_at, certificate FROM fleet_roots WHERE public_key = :key",
        soci::use(key), soci::into(environment), soci::into(added_at), soci::into(der);
    if (!database_.sql().got_data()) return std::nullopt;
    return root_record(environment, added_at, der);
  });
}

bool Registry::remove_root(const EnvironmentName& environment, const std::string& fingerprint) {
  return with_store_errors([&] {
    soci::statement statement =
        (database_.sql().prepare << "DELETE FROM fleet_roots WHERE environment = :environment AND "
                                    "fingerprint = :fingerprint",
         soci::use(environment.text()), soci::use(fingerprint));
    statement.execute(true);
    if (statement.get_affected_rows() == 0) return false;
    count_change();
    return true;
  });
}

// ---- devices ----

std::optional<DeviceRecord> Registry::device(const EnvironmentName& environment, const DeviceId& id) {
  return with_store_errors([&] { return device_look_up_->find(environment, id); });
}

std::optional<DeviceId> Registry::device_with_key(const std::string& key) {
  return with_store_errors([&]() -> std::optional<DeviceId> {
    std::string id;
    database_.sql() << "SELECT device_id FROM devices WHERE public_key = :key", soci::use(key),
        soci::into(id);
    if (!database_.sql().got_data()) return std::nullopt;
    return DeviceId::parse(id);
  });
}

bool Registry::is_superseded(const std::string& key) {
  return with_store_errors([&] {
    int count = 0;
    database_.sql() << "SELECT COUNT(*) FROM superseded_keys WHERE public_key = :key", soci::use(key),
        soci::into(count);
    return count > 0;
  });
}

void Registry::add_device(const EnvironmentName& environment, const DeviceRecord& device) {
  with_store_errors([&] {
    std::string state(name_of(device.state));
    std::string origin(name_of(device.origin));
    database_.sql()
        << "INSERT INTO devices (environment, device_id, public_key, certificate, tbs, state, origin, "
           "joined_at) VALUES (:environment, :id, :key, :certificate, :tbs, :state, :origin, :joined_at)",
        soci::use(environment.text()), soci::use(device.id.text()), soci::use(device.key),
        soci::use(device.certificate), soci::use(device.tbs), soci::use(state), soci::use(origin),
        soci::use(device.joined_at);
  });
}

void Registry::replace_key(const EnvironmentName& environment, const DeviceRecord& device,
                           const std::string& old_key) {
  with_store_errors([&] {
    database_.sql() << "INSERT INTO superseded_keys (public_key, environment, device_id) "
                       "VALUES (:key, :environment, :id)",
        soci::use(old_key), soci::use(environment.text()), soci::use(device.id.text());
    database_.sql() << "UPDATE devices SET public_key = :key, certificate = :certificate, tbs = :tbs "
                       "WHERE environment = :environment AND device_id = :id",
        soci::use(device.key), soci::use(device.certificate), soci::use(device.tbs),
        soci::use(environment.text()), soci::use(device.id.text());
    count_change();
  });
}

void Registry::note_certificate(const EnvironmentName& environment, const DeviceRecord& device) {
  with_store_errors([&] {
    database_.sql() << "UPDATE devices SET certificate = :certificate, tbs = :tbs "
                       "WHERE environment = :environment AND device_id = :id",
        soci::use(device.certificate), soci::use(device.tbs), soci::use(environment.text()),
        soci::use(device.id.text());
  });
}

bool Registry::set_state(const EnvironmentName& environment, const DeviceId& id, DeviceState state) {
  return with_store_errors([&] {
    std::string name(name_of(state));
    soci::statement statement =
        (database_.sql().prepare << "UPDATE devices SET state = :state "
                                    "WHERE environment = :environment AND device_id = :id",
         soci::use(name), soci::use(environment.text()), soci::use(id.text()));
    statement.execute(true);
    count_change();
    return statement.get_affected_rows() > 0;
  });
}

void Registry::each_device(const EnvironmentName& environment,
                           const std::function<void(const DeviceRecord&)>& visit) {
  with_store_errors([&] {
    DeviceRow row;
    soci::statement rows = (database_.sql().prepare
                                << "SELECT device_id, public_key, certificate, tbs, state, origin, joined_at "
                                   "FROM devices WHERE environment = :environment ORDER BY device_id",
                            soci::use(environment.text()), soci::into(row.id), soci::into(row.key),
                            soci::into(row.certificate), soci::into(row.tbs), soci::into(row.state),
                            soci::into(row.origin), soci::into(row.joined_at));
    rows.execute();
    while (rows.fetch()) visit(row.record());
  });
}

}  // namespace fleetroot::gateway
