#include "factory-ca/certificate_ledger.h"

#include <fmt/format.h>

#include <array>

namespace fleetroot::ca {
namespace {

constexpr std::array kKinds{SubjectKind::device, SubjectKind::station, SubjectKind::authority};
constexpr std::array kStates{CertificateState::reserved, CertificateState::issued,
                             CertificateState::abandoned, CertificateState::revoked};
constexpr std::array kConfirmations{Confirmation::none, Confirmation::accepted, Confirmation::rejected};

template <typename Value, std::size_t N>
Value from_name(const std::array<Value, N>& values, const std::string& name) {
  for (Value value : values) {
    if (name_of(value) == name) return value;
  }
  throw Error(ErrorCode::io, fmt::format("the ledger holds the unknown word \"{}\"", name),
              "stop, keep the ledger, and restore a backup");
}

constexpr std::string_view kColumns =
    "serial, kind, subject, order_id, sender, profile, profile_digest, issuer_key_id, public_key, "
    "key_algorithm, key_id, not_before, not_after, tbs, certificate, statement, state, issued_at, "
    "confirmation, confirmed_at, supersedes, revocation_reason, revoked_at, generation, renewal";

// A row as the database has it.
struct Row {
  std::string kind, state, confirmation, tbs, certificate, revocation_reason;
  long long not_before = 0, not_after = 0;
  CertificateRecord record;

  CertificateRecord take() {
    record.kind = from_name(kKinds, kind);
    record.state = from_name(kStates, state);
    record.confirmation = from_name(kConfirmations, confirmation);
    record.tbs = from_hex(tbs).value_or(Bytes());
    record.certificate = from_hex(certificate).value_or(Bytes());
    record.not_before = Time(std::chrono::seconds(not_before));
    record.not_after = Time(std::chrono::seconds(not_after));
    record.revocation_reason = parse_revocation_reason(revocation_reason);
    return record;
  }
};

// Prepares, with the result's columns bound to `row` and whatever `bind` adds.
template <typename Bind>
soci::statement select(soci::session& sql, const std::string& where, Row& row, const Bind& bind) {
  soci::statement statement(sql);
  CertificateRecord& record = row.record;
  for (std::string* text : {&record.serial, &row.kind, &record.subject, &record.order, &record.sender,
                            &record.profile, &record.profile_digest, &record.issuer_key_id,
                            &record.public_key, &record.key_algorithm, &record.key_id}) {
    statement.exchange(soci::into(*text));
  }
  statement.exchange(soci::into(row.not_before));
  statement.exchange(soci::into(row.not_after));
  for (std::string* text :
       {&row.tbs, &row.certificate, &record.statement, &row.state, &record.issued_at, &row.confirmation,
        &record.confirmed_at, &record.supersedes, &row.revocation_reason, &record.revoked_at}) {
    statement.exchange(soci::into(*text));
  }
  statement.exchange(soci::into(record.generation));
  statement.exchange(soci::into(record.renewal));
  bind(statement);
  statement.alloc();
  statement.prepare(fmt::format("SELECT {} FROM certificates WHERE {}", kColumns, where));
  statement.define_and_bind();
  return statement;
}

template <typename Bind>
std::optional<CertificateRecord> select_one(Database& database, const std::string& where, const Bind& bind) {
  return with_store_errors([&]() -> std::optional<CertificateRecord> {
    Row row;
    soci::statement statement = select(database.sql(), where, row, bind);
    if (!statement.execute(true)) return std::nullopt;
    return row.take();
  });
}

auto binding(const std::string& first) {
  return [&first](soci::statement& statement) { statement.exchange(soci::use(first)); };
}

auto binding(const std::string& first, const std::string& second) {
  return [&first, &second](soci::statement& statement) {
    statement.exchange(soci::use(first));
    statement.exchange(soci::use(second));
  };
}

}  // namespace

std::string_view name_of(SubjectKind kind) {
  switch (kind) {
    case SubjectKind::device:
      return "device";
    case SubjectKind::station:
      return "station";
    case SubjectKind::authority:
      return "authority";
  }
  return "";
}

std::string_view name_of(CertificateState state) {
  switch (state) {
    case CertificateState::reserved:
      return "reserved";
    case CertificateState::issued:
      return "issued";
    case CertificateState::abandoned:
      return "abandoned";
    case CertificateState::revoked:
      return "revoked";
  }
  return "";
}

std::string_view name_of(Confirmation confirmation) {
  switch (confirmation) {
    case Confirmation::none:
      return "none";
    case Confirmation::accepted:
      return "accepted";
    case Confirmation::rejected:
      return "rejected";
  }
  return "";
}

Standing CertificateLedger::standing(SubjectKind kind, const std::string& subject) {
  std::string kind_name(name_of(kind));
  // Each part has an index of its own.
  constexpr std::string_view kWhere = "kind = :kind{0} AND subject = :subject{0} AND state = '{1}'";
  std::string where = fmt::format(kWhere, 1, name_of(CertificateState::issued));
  for (CertificateState state : {CertificateState::reserved, CertificateState::revoked}) {
    where += fmt::format(" UNION ALL SELECT {} FROM certificates WHERE ", kColumns);
    where += fmt::format(kWhere, static_cast<int>(state) + 2, name_of(state));
  }
  return with_store_errors([&] {
    Standing standing;
    Row row;
    soci::statement statement = select(database_.sql(), where, row, [&](soci::statement& all) {
      for (int part = 0; part < 3; ++part) {
        all.exchange(soci::use(kind_name));
        all.exchange(soci::use(subject));
      }
    });
    statement.execute();
    while (statement.fetch()) {
      CertificateRecord record = row.take();
      std::optional<CertificateRecord>& place = record.state == CertificateState::issued ? standing.issued
                                                : record.state == CertificateState::reserved
                                                    ? standing.reserved
                                                    : standing.revoked;
      if (!place || place->generation < record.generation) place = std::move(record);
    }
    return standing;
  });
}

std::optional<CertificateRecord> CertificateLedger::live(SubjectKind kind, const std::string& subject) {
  Standing found = standing(kind, subject);
  return found.issued ? found.issued : found.reserved;
}

std::optional<CertificateRecord> CertificateLedger::with_public_key(const std::string& fingerprint) {
  return select_one(database_, "public_key = :key AND state <> 'abandoned'", binding(fingerprint));
}

std::optional<CertificateRecord> CertificateLedger::with_key_id(SubjectKind kind, const std::string& key_id) {
  std::string kind_name(name_of(kind));
  return select_one(database_,
                    "kind = :kind AND key_id = :key_id AND state IN ('issued', 'revoked') "
                    "ORDER BY generation DESC LIMIT 1",
                    binding(kind_name, key_id));
}

std::optional<CertificateRecord> CertificateLedger::with_serial(const std::string& serial) {
  return select_one(database_, "serial = :serial", binding(serial));
}

void CertificateLedger::each(SubjectKind kind, const std::string& order,
                             const std::function<void(const CertificateRecord&)>& look) {
  std::string kind_name(name_of(kind));
  with_store_errors([&] {
    Row row;
    soci::statement statement =
        order.empty() ? select(database_.sql(),
                               "kind = :kind AND state IN ('issued', 'revoked') ORDER BY issued_at, serial",
                               row, binding(kind_name))
                      : select(database_.sql(),
                               "kind = :kind AND order_id = :order_id AND state IN ('issued', 'revoked') "
                               "ORDER BY issued_at, serial",
                               row, binding(kind_name, order));
    statement.execute();
    while (statement.fetch()) look(row.take());
  });
}

void CertificateLedger::each_revoked(const std::string& issuer_key_id,
                                     const std::function<void(const RevokedCertificate&)>& look) {
  with_store_errors([&] {
    RevokedCertificate revoked;
    std::string reason;
    std::string date;
    long long not_after = 0;
    long long first_list = 0;
    soci::statement rows =
        (database_.sql().prepare << "SELECT serial, revocation_reason, revoked_at, not_after, "
                                    "revocation_number FROM certificates WHERE state = 'revoked' AND "
                                    "issuer_key_id = :issuer ORDER BY serial",
         soci::use(issuer_key_id), soci::into(revoked.serial), soci::into(reason), soci::into(date),
         soci::into(not_after), soci::into(first_list));
    rows.execute();
    while (rows.fetch()) {
      revoked.reason = parse_revocation_reason(reason);
      revoked.date = parse_time(date).value();
      revoked.not_after = Time(std::chrono::seconds(not_after));
      revoked.first_list = static_cast<std::uint64_t>(first_list);
      look(revoked);
    }
  });
}

void CertificateLedger::reserve(const CertificateRecord& record) {
  std::string kind(name_of(record.kind));
  std::string tbs = to_hex(record.tbs);
  std::string digest = sha256_hex(record.tbs);
  long long not_before = record.not_before.time_since_epoch().count();
  long long not_after = record.not_after.time_since_epoch().count();
  with_store_errors([&] {
    database_.sql() << "INSERT INTO certificates (serial, kind, subject, order_id, sender, profile, "
                       "profile_digest, issuer_key_id, public_key, key_algorithm, key_id, not_before, "
                       "not_after, tbs, tbs_digest, statement, supersedes, generation, renewal, state) "
                       "VALUES (:serial, :kind, :subject, :order_id, :sender, :profile, :profile_digest, "
                       ":issuer_key_id, :public_key, :key_algorithm, :key_id, :not_before, :not_after, :tbs, "
                       ":tbs_digest, :statement, :supersedes, :generation, :renewal, 'reserved')",
        soci::use(record.serial), soci::use(kind), soci::use(record.subject), soci::use(record.order),
        soci::use(record.sender), soci::use(record.profile), soci::use(record.profile_digest),
        soci::use(record.issuer_key_id), soci::use(record.public_key), soci::use(record.key_algorithm),
        soci::use(record.key_id), soci::use(not_before), soci::use(not_after), soci::use(tbs),
        soci::use(digest), soci::use(record.statement), soci::use(record.supersedes),
        soci::use(record.generation), soci::use(record.renewal);
  });
}

void CertificateLedger::abandon(const std::string& serial) {
  with_store_errors([&] {
    database_.sql() << "UPDATE certificates SET state = 'abandoned' "
                       "WHERE serial = :serial AND state = 'reserved'",
        soci::use(serial);
  });
}

bool CertificateLedger::commit(const std::string& serial, const Certificate& certificate, Time now) {
  std::string der = to_hex(certificate.der());
  std::string issued_at = format_time(now);
  return with_store_errors([&] {
    soci::statement update =
        (database_.sql().prepare
             << "UPDATE certificates SET state = 'issued', certificate = :certificate, tbs = '', "
                "issued_at = :issued_at WHERE serial = :serial AND state = 'reserved'",
         soci::use(der), soci::use(issued_at), soci::use(serial));
    update.execute(true);
    return update.get_affected_rows() == 1;
  });
}

void CertificateLedger::confirm(const std::string& serial, Confirmation confirmation, Time now) {
  std::string name(name_of(confirmation));
  std::string confirmed_at = format_time(now);
  with_store_errors([&] {
    database_.sql() << "UPDATE certificates SET confirmation = :confirmation, confirmed_at = :confirmed_at "
                       "WHERE serial = :serial",
        soci::use(name), soci::use(confirmed_at), soci::use(serial);
  });
}

void CertificateLedger::revoke(const std::string& serial, RevocationReason reason, Time now) {
  std::string revoked_at = format_time(now);
  std::string reason_name(name_of(reason));
  with_store_errors([&] {
    database_.sql()
        << "UPDATE certificates SET state = 'revoked', revoked_at = :revoked_at, "
           "revocation_reason = :reason, revocation_number = (SELECT coalesce(max(number), 0) + 1 "
           "FROM crls WHERE crls.issuer_key_id = certificates.issuer_key_id) "
           "WHERE serial = :serial AND state = 'issued'",
        soci::use(revoked_at), soci::use(reason_name), soci::use(serial);
  });
}

std::optional<Time> CertificateLedger::latest_time() {
  return with_store_errors([&]() -> std::optional<Time> {
    long long seconds = 0;
    database_.sql() << "SELECT not_before FROM certificates ORDER BY not_before DESC LIMIT 1",
        soci::into(seconds);
    if (!database_.sql().got_data()) return std::nullopt;
    return Time(std::chrono::seconds(seconds));
  });
}

}  // namespace fleetroot::ca
