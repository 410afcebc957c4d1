#include "factory-ca/ledger.h"

#include <fmt/format.h>

#include <array>

namespace fleetroot::ca {
namespace {

// Times of certificates are seconds since 1970, times of events RFC 3339.
constexpr std::array<std::string_view, Ledger::kSchemaVersion> kMigrations{
    R"sql(
CREATE TABLE orders (
  id         TEXT PRIMARY KEY,
  profile    TEXT NOT NULL,
  pattern    TEXT NOT NULL,
  quantity   INTEGER NOT NULL CHECK (quantity > 0),
  used       INTEGER NOT NULL CHECK (used >= 0 AND used <= quantity),
  state      TEXT NOT NULL CHECK (state IN ('open', 'closed')),
  created_at TEXT NOT NULL,
  closed_at  TEXT NOT NULL);
CREATE TABLE order_devices (
  order_id  TEXT NOT NULL REFERENCES orders (id),
  device_id TEXT NOT NULL,
  columns   TEXT NOT NULL,
  PRIMARY KEY (order_id, device_id));
CREATE TABLE certificates (
  serial         TEXT PRIMARY KEY,
  kind           TEXT NOT NULL CHECK (kind IN ('device', 'station', 'authority')),
  subject        TEXT NOT NULL,
  order_id       TEXT NOT NULL,
  sender         TEXT NOT NULL,
  profile        TEXT NOT NULL,
  profile_digest TEXT NOT NULL,
  issuer_key_id  TEXT NOT NULL,
  public_key     TEXT NOT NULL,
  key_algorithm  TEXT NOT NULL,
  key_id         TEXT NOT NULL,
  not_before     INTEGER NOT NULL,
  not_after      INTEGER NOT NULL,
  tbs            TEXT NOT NULL,
  tbs_digest     TEXT NOT NULL,
  certificate    TEXT NOT NULL DEFAULT '',
  statement      TEXT NOT NULL,
  state          TEXT NOT NULL CHECK (state IN ('reserved', 'issued', 'abandoned', 'revoked')),
  issued_at      TEXT NOT NULL DEFAULT '',
  confirmation   TEXT NOT NULL DEFAULT 'none' CHECK (confirmation IN ('none', 'accepted', 'rejected')),
  confirmed_at   TEXT NOT NULL DEFAULT '',
  revoked_at     TEXT NOT NULL DEFAULT '',
  CHECK (state IN ('reserved', 'abandoned') OR certificate <> ''));
CREATE UNIQUE INDEX one_live_certificate_a_subject ON certificates (kind, subject)
  WHERE state IN ('reserved', 'issued');
CREATE UNIQUE INDEX one_subject_a_key ON certificates (public_key) WHERE state <> 'abandoned';
CREATE INDEX certificates_by_order ON certificates (order_id, issued_at) WHERE order_id <> '';
CREATE INDEX certificates_by_key_id ON certificates (key_id);
CREATE INDEX certificates_by_time ON certificates (not_before);
CREATE TABLE log (
  sequence INTEGER PRIMARY KEY,
  entry    TEXT NOT NULL,
  digest   TEXT NOT NULL);
)sql",
    // A device's later life: a certificate may be reserved beside the issued one that it will supersede.
    R"sql(
ALTER TABLE certificates ADD COLUMN generation INTEGER NOT NULL DEFAULT 1;
ALTER TABLE certificates ADD COLUMN supersedes TEXT NOT NULL DEFAULT '';
ALTER TABLE certificates ADD COLUMN renewal INTEGER NOT NULL DEFAULT 0 CHECK (renewal = 0 OR kind <> 'device');
ALTER TABLE certificates ADD COLUMN revocation_reason TEXT NOT NULL DEFAULT 'unspecified';
ALTER TABLE certificates ADD COLUMN revocation_number INTEGER NOT NULL DEFAULT 1;
DROP INDEX one_live_certificate_a_subject;
CREATE UNIQUE INDEX one_live_certificate_a_subject ON certificates (kind, subject) WHERE state = 'issued';
CREATE UNIQUE INDEX one_reservation_a_subject ON certificates (kind, subject) WHERE state = 'reserved';
CREATE INDEX revoked_certificates_by_subject ON certificates (kind, subject) WHERE state = 'revoked';
DROP INDEX one_subject_a_key;
CREATE UNIQUE INDEX one_subject_a_key ON certificates (public_key, renewal) WHERE state <> 'abandoned';
CREATE TABLE reworks (
  id            INTEGER PRIMARY KEY,
  device_id     TEXT NOT NULL,
  reason        TEXT NOT NULL,
  state         TEXT NOT NULL CHECK (state IN ('authorised', 'used', 'withdrawn')),
  serial        TEXT NOT NULL DEFAULT '' CHECK ((state = 'used') = (serial <> '')),
  authorised_at TEXT NOT NULL,
  ended_at      TEXT NOT NULL DEFAULT '');
CREATE UNIQUE INDEX one_open_rework_a_device ON reworks (device_id) WHERE state = 'authorised';
CREATE TABLE scrapped_devices (
  device_id   TEXT PRIMARY KEY,
  cause       TEXT NOT NULL,
  scrapped_at TEXT NOT NULL);
CREATE TABLE station_orders (
  station  TEXT NOT NULL,
  order_id TEXT NOT NULL REFERENCES orders (id),
  PRIMARY KEY (station, order_id));
CREATE TABLE crls (
  issuer_key_id TEXT NOT NULL,
  number        INTEGER NOT NULL CHECK (number > 0),
  base_number   INTEGER NOT NULL CHECK (base_number >= 0 AND base_number < number),
  this_update   INTEGER NOT NULL,
  tbs_digest    TEXT NOT NULL,
  state         TEXT NOT NULL CHECK (state IN ('reserved', 'published')),
  PRIMARY KEY (issuer_key_id, number));
)sql",
    // Removable media: a chain of bundles for each station, and what each was answered with.
    R"sql(
CREATE TABLE bundles (
  id           INTEGER PRIMARY KEY,
  station      TEXT NOT NULL,
  signer       TEXT NOT NULL,
  sequence     INTEGER NOT NULL CHECK (sequence > 0),
  digest       TEXT NOT NULL UNIQUE,
  reply_digest TEXT NOT NULL,
  order_id     TEXT NOT NULL,
  answered_at  TEXT NOT NULL,
  UNIQUE (station, signer, sequence));
)sql",
    // What a device's row does not need to be found by costs it a page of its own in every transaction.
    R"sql(
DROP INDEX certificates_by_key_id;
CREATE INDEX stations_by_key_id ON certificates (key_id) WHERE kind = 'station';
DROP INDEX certificates_by_order;
CREATE INDEX certificates_by_order ON certificates (order_id, issued_at, serial) WHERE issued_at <> '';
)sql",
    // A key whose reservation was given up is its subject's all the same.
    R"sql(
CREATE INDEX given_up_keys ON certificates (public_key, not_before) WHERE state = 'abandoned';
)sql",
    // A reservation under a rework is not resumed without one. What is begun for another key than one before
    // it had was begun under a rework.
    R"sql(
ALTER TABLE certificates ADD COLUMN rework INTEGER NOT NULL DEFAULT 0;
UPDATE certificates SET rework = coalesce((SELECT max(id) FROM reworks WHERE device_id = subject), 0)
  WHERE kind = 'device' AND state = 'reserved' AND EXISTS (SELECT 1 FROM certificates AS other
    WHERE other.kind = 'device' AND other.subject = certificates.subject
      AND other.public_key <> certificates.public_key);
)sql",
    // The sender is who finished it, as the log has it.
    R"sql(
UPDATE certificates SET sender = said.sender FROM
  (SELECT json_extract(entry, '$.serial') AS serial, json_extract(entry, '$.sender') AS sender
    FROM (SELECT CASE WHEN json_valid(entry) THEN entry ELSE '{}' END AS entry FROM log)
    WHERE json_extract(entry, '$.event') = 'device.certified') AS said
  WHERE certificates.serial = said.serial AND said.sender <> certificates.sender;
)sql",
    // What a clock that was ahead dated does not hold up what is issued when it is right again.
    R"sql(
ALTER TABLE certificates ADD COLUMN disowned INTEGER NOT NULL DEFAULT 0;
DROP INDEX certificates_by_time;
CREATE INDEX certificates_by_time ON certificates (not_before) WHERE disowned = 0;
)sql",
    // An index that asks for the state costs every certificate a page of its own once more when it is signed.
    // Of a key's abandoned reservations this says which it was, from 1 on.
    R"sql(
ALTER TABLE certificates ADD COLUMN abandonment INTEGER NOT NULL DEFAULT 0;
UPDATE certificates SET abandonment = (SELECT count(*) FROM certificates AS other
    WHERE other.public_key = certificates.public_key AND other.state = 'abandoned'
      AND (other.not_before, other.rowid) <= (certificates.not_before, certificates.rowid))
  WHERE state = 'abandoned';
DROP INDEX given_up_keys;
DROP INDEX one_subject_a_key;
CREATE UNIQUE INDEX one_subject_a_key ON certificates (public_key, abandonment, renewal DESC);
)sql"};

}  // namespace

Ledger::Ledger(const std::filesystem::path& file)
    : database_(file, kMigrations),
      orders(database_),
      certificates(database_),
      reworks(database_),
      scrapped(database_),
      bundles(database_),
      crls(database_),
      station_orders(database_),
      log(database_) {}

Time Ledger::time_of_issue(const Clock& clock) {
  // Read before the clock, so that another process cannot make this one look late.
  std::optional<Time> latest = certificates.latest_time();
  Time now = clock.now();
  if (latest && now < *latest) {
    throw Error(ErrorCode::clock,
                fmt::format("this machine's clock says {}, but a certificate was issued at {}",
                            format_time(now), format_time(*latest)),
                kSetRightOrDisown);
  }
  return now;
}

}  // namespace fleetroot::ca
