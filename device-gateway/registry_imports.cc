// The registry: what CAs say, of what they have revoked and of what they have delivered.
#include "device-gateway/registry.h"

namespace fleetroot::gateway {

// ---- revocation lists ----

void Registry::put_list(const EnvironmentName& environment, const ListRecord& list) {
  with_store_errors([&] {
    std::string hex = to_hex(list.der);
    int is_delta = list.is_delta ? 1 : 0;
    long long number = list.number;
    database_.sql() << "INSERT INTO revocation_lists (environment, issuer_key, is_delta, number, list) "
                       "VALUES (:environment, :issuer, :is_delta, :number, :list) "
                       "ON CONFLICT (environment, issuer_key, is_delta) "
                       "DO UPDATE SET number = excluded.number, list = excluded.list",
        soci::use(environment.text()), soci::use(list.issuer_key), soci::use(is_delta), soci::use(number),
        soci::use(hex);
    count_change();
  });
}

std::vector<ListRecord> Registry::lists(const EnvironmentName& environment) {
  return with_store_errors([&] {
    std::vector<ListRecord> lists;
    std::string issuer, hex;
    int is_delta = 0;
    long long number = 0;
    soci::statement rows =
        (database_.sql().prepare << "SELECT issuer_key, is_delta, number, list FROM revocation_lists "
                                    "WHERE environment = :environment ORDER BY issuer_key, is_delta",
         soci::use(environment.text()), soci::into(issuer), soci::into(is_delta), soci::into(number),
         soci::into(hex));
    rows.execute();
    while (rows.fetch()) {
      lists.push_back({.issuer_key = issuer,
                       .is_delta = is_delta != 0,
                       .number = number,
                       .der = from_hex(hex).value_or(Bytes())});
    }
    return lists;
  });
}

// ---- manifests ----

std::optional<ManifestRecord> Registry::manifest(const EnvironmentName& environment, const std::string& ca,
                                                 const std::string& order) {
  return with_store_errors([&]() -> std::optional<ManifestRecord> {
    ManifestRecord record{.ca = ca, .order = order, .created = {}, .digest = {}};
    database_.sql() << "SELECT created, digest FROM manifests "
                       "WHERE environment = :environment AND ca = :ca AND order_id = :order_id",
        soci::use(environment.text()), soci::use(ca), soci::use(order), soci::into(record.created),
        soci::into(record.digest);
    if (!database_.sql().got_data()) return std::nullopt;
    return record;
  });
}

void Registry::put_manifest(const EnvironmentName& environment, const ManifestRecord& manifest,
                            const std::vector<ManifestDevice>& devices) {
  with_store_errors([&] {
    soci::session& sql = database_.sql();
    sql << "INSERT INTO manifests (environment, ca, order_id, created, digest) "
           "VALUES (:environment, :ca, :order_id, :created, :digest) "
           "ON CONFLICT (environment, ca, order_id) "
           "DO UPDATE SET created = excluded.created, digest = excluded.digest",
        soci::use(environment.text()), soci::use(manifest.ca), soci::use(manifest.order),
        soci::use(manifest.created), soci::use(manifest.digest);
    std::string id, key, certificate, issued_at;
    int is_rework = 0;
    soci::statement insert =
        (sql.prepare << "INSERT INTO manifest_devices "
                        "(environment, device_id, public_key, certificate, issued_at, is_rework) "
                        "VALUES (:environment, :id, :key, :certificate, :issued_at, :is_rework) "
                        "ON CONFLICT (environment, device_id) DO UPDATE SET "
                        "public_key = excluded.public_key, certificate = excluded.certificate, "
                        "issued_at = excluded.issued_at, is_rework = excluded.is_rework "
                        "WHERE excluded.issued_at >= manifest_devices.issued_at",
         soci::use(environment.text()), soci::use(id), soci::use(key), soci::use(certificate),
         soci::use(issued_at), soci::use(is_rework));
    soci::statement remove = (sql.prepare << "DELETE FROM manifest_devices WHERE environment = :environment "
                                             "AND device_id = :id AND certificate = :certificate",
                              soci::use(environment.text()), soci::use(id), soci::use(certificate));
    soci::statement note = (sql.prepare << "INSERT OR IGNORE INTO revoked_keys "
                                           "(environment, device_id, public_key) "
                                           "VALUES (:environment, :id, :key)",
                            soci::use(environment.text()), soci::use(id), soci::use(key));
    auto run = [&](soci::statement& statement, const ManifestDevice& device) {
      id = device.id.text();
      key = device.key;
      certificate = device.certificate;
      issued_at = device.issued_at;
      is_rework = device.is_rework ? 1 : 0;
      statement.execute(true);
    };
    // What is revoked makes room first: a CA whose clock went back has dated its successor earlier.
    for (const ManifestDevice& device : devices) {
      if (!device.is_revoked) continue;
      run(remove, device);
      run(note, device);
    }
    for (const ManifestDevice& device : devices) {
      if (!device.is_revoked) run(insert, device);
    }
    count_change();
  });
}

std::optional<ManifestDevice> Registry::on_manifest(const EnvironmentName& environment, const DeviceId& id) {
  ManifestDevice device{.id = id, .key = {}, .certificate = {}, .issued_at = {}};
  int is_rework = 0;
  bool is_there = database_.row(
      "SELECT public_key, certificate, issued_at, is_rework FROM manifest_devices "
      "WHERE environment = :environment AND device_id = :id",
      soci::use(environment.text()), soci::use(id.text()), soci::into(device.key),
      soci::into(device.certificate), soci::into(device.issued_at), soci::into(is_rework));
  device.is_rework = is_rework != 0;
  return is_there ? std::optional(device) : std::nullopt;
}

bool Registry::is_revoked_by_manifest(const EnvironmentName& environment, const DeviceId& id,
                                      const std::string& key) {
  int one = 0;
  return database_.row(
      "SELECT 1 FROM revoked_keys WHERE environment = :environment AND device_id = :id AND public_key = :key",
      soci::use(environment.text()), soci::use(id.text()), soci::use(key), soci::into(one));
}

bool Registry::was_revoked_by_manifest(const EnvironmentName& environment, const std::string& certificate) {
  int one = 0;
  return database_.row(
      "SELECT 1 FROM revoked_certificates WHERE environment = :environment AND certificate = :certificate",
      soci::use(environment.text()), soci::use(certificate), soci::into(one));
}

}  // namespace fleetroot::gateway
