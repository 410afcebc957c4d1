// The registry: provisioning keys.
#include <fmt/format.h>

#include "device-gateway/registry.h"

namespace fleetroot::gateway {
namespace {

struct CredentialRow {
  std::string name, environment, certificate, created_at;
  long long quota = 0, used = 0, expires = 0;
  int is_revoked = 0;

  CredentialRecord record() const {
    return {.name = CredentialName::parse(name),
            .environment = EnvironmentName::parse(environment),
            .certificate = certificate,
            .quota = quota,
            .used = used,
            .expires = Time(std::chrono::seconds(expires)),
            .is_revoked = is_revoked != 0,
            .created_at = created_at};
  }
};

constexpr std::string_view kCredentialColumns =
    "name, environment, certificate, quota, used, expires, is_revoked, created_at";

}  // namespace

void Registry::add_credential(const CredentialRecord& credential) {
  with_store_errors([&] {
    long long quota = credential.quota;
    long long expires = credential.expires.time_since_epoch().count();
    database_.sql() << "INSERT INTO credentials (name, environment, certificate, quota, used, expires, "
                       "is_revoked, created_at) "
                       "VALUES (:name, :environment, :certificate, :quota, 0, :expires, 0, :created_at)",
        soci::use(credential.name.text()), soci::use(credential.environment.text()),
        soci::use(credential.certificate), soci::use(quota), soci::use(expires),
        soci::use(credential.created_at);
    count_change();
  });
}

std::optional<CredentialRecord> Registry::credential(const CredentialName& name) {
  return with_store_errors([&]() -> std::optional<CredentialRecord> {
    CredentialRow row;
    database_.sql() << fmt::format("SELECT {} FROM credentials WHERE name = :name", kCredentialColumns),
        soci::use(name.text()), soci::into(row.name), soci::into(row.environment),
        soci::into(row.certificate), soci::into(row.quota), soci::into(row.used), soci::into(row.expires),
        soci::into(row.is_revoked), soci::into(row.created_at);
    if (!database_.sql().got_data()) return std::nullopt;
    return row.record();
  });
}

std::vector<CredentialRecord> Registry::credentials() {
  return with_store_errors([&] {
    std::vector<CredentialRecord> credentials;
    CredentialRow row;
    soci::statement rows = (database_.sql().prepare << fmt::format(
                                "SELECT {} FROM credentials ORDER BY created_at, name", kCredentialColumns),
                            soci::into(row.name), soci::into(row.environment), soci::into(row.certificate),
                            soci::into(row.quota), soci::into(row.used), soci::into(row.expires),
                            soci::into(row.is_revoked), soci::into(row.created_at));
    rows.execute();
    while (rows.fetch()) credentials.push_back(row.record());
    return credentials;
  });
}

bool Registry::use_credential(const CredentialName& name) {
  return with_store_errors([&] {
    soci::statement statement =
        (database_.sql().prepare
             << "UPDATE credentials SET used = used + 1 WHERE name = :name AND used < quota",
         soci::use(name.text()));
    statement.execute(true);
    return statement.get_affected_rows() > 0;
  });
}

void Registry::revoke_credential(const CredentialName& name) {
  with_store_errors([&] {
    database_.sql() << "UPDATE credentials SET is_revoked = 1 WHERE name = :name", soci::use(name.text());
    count_change();
  });
}

}  // namespace fleetroot::gateway
