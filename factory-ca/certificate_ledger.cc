#include "factory-ca/certificate_ledger.h"

#include <fmt/format.h>

#include <array>

namespace fleetroot::ca {
namespace {

constexpr std::array kKinds{SubjectKind::device, SubjectKind::station, SubjectKind::authority};
constexpr std::array kStates{CertificateState::reserved, CertificateState::issued,
                             CertificateState::abandoned, CertificateState::revoked};
constexpr std::array kConfirmations{Confirmation::none, Confirmation::accepted, Confirmation::rejected};

Error bad_record(std::string what) {
  return {ErrorCode::io, "the ledger holds " + std::move(what),
          "stop, keep the ledger, and restore a backup"};
}

Error unknown_word(const std::string& word) {
  return bad_record(fmt::format("the unknown word \"{}\"", word));
}

template <typename Value, std::size_t N>
Value from_name(const std::array<Value, N>& values, const std::string& name) {
  for (Value value : values) {
    if (name_of(value) == name) return value;
  }
  throw unknown_word(name);
}

RevocationReason reason_from_name(const std::string& name) {
  try {
    return parse_revocation_reason(name);
  } catch (const Error&) {
    throw unknown_word(name);
  }
}

constexpr std::string_view kColumns =
    "serial, kind, subject, order_id, sender, profile, profile_digest, issuer_key_id, public_key, "
    "key_algorithm, key_id, not_before, not_after, tbs, certificate, statement, state, issued_at, "
    "confirmation, confirmed_at, supersedes, revocation_reason, revoked_at, generation, renewal, rework, "
    "revocation_number";

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
    record.revocation_reason = reason_from_name(revocation_reason);
    return record;
  }
};

// Calls `run` with where each column goes, in the order of kColumns.
bool with_row(Row& row, const auto& run) {
  using soci::into;
  CertificateRecord& record = row.record;
  return run(into(record.serial), into(row.kind), into(record.subject), into(record.order),
             into(record.sender), into(record.profile), into(record.profile_digest),
             into(record.issuer_key_id), into(record.public_key), into(record.key_algorithm),
             into(record.key_id), into(row.not_before), into(row.not_after), into(row.tbs),
             into(row.certificate), into(record.statement), into(row.state), into(record.issued_at),
             into(row.confirmation), into(record.confirmed_at), into(record.supersedes),
             into(row.revocation_reason), into(record.revoked_at), into(record.generation),
             into(record.renewal), into(record.rework), into(record.first_list));
}

std::string select_where(std::string_view where) {
  return fmt::format("SELECT {} FROM certificates WHERE {}", kColumns, where);
}

// Each part has an index of its own. The kind is in the text: were it bound to it, SQLite would look at its
// value to choose among indexes of one kind, and prepare the statement anew each time.
const std::string& standing_query(SubjectKind kind) {
  static const std::array<std::string, kKinds.size()> kTexts = [] {
    std::array<std::string, kKinds.size()> texts;
    for (SubjectKind each : kKinds) {
      std::string& text = texts.at(static_cast<std::size_t>(each));
      for (std::string_view state : {"issued", "reserved", "revoked"}) {
        text += text.empty() ? "" : " UNION ALL ";
        text += select_where(
            fmt::format("kind = '{0}' AND subject = :subject_{1} AND state = '{1}'", name_of(each), state));
      }
    }
    return texts;
  }();
  return kTexts.at(static_cast<std::size_t>(kind));
}

std::optional<CertificateRecord> select_one(Database& database, const std::string& text,
                                            const auto&... values) {
  Row row;
  return with_row(row, [&](auto... columns) { return database.row(text, columns..., soci::use(values)...); })
             ? std::optional(row.take())
             : std::nullopt;
}

void select_each(Database& database, const std::string& text,
                 const std::function<void(CertificateRecord)>& look, const auto&... values) {
  Row row;
  with_row(row, [&](auto... columns) {
    database.rows(
        text, [&] { look(row.take()); }, columns..., soci::use(values)...);
    return true;
  });
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

Time time_on_record(const std::string& text) {
  if (std::optional<Time> time = parse_time(text)) return *time;
  throw bad_record(fmt::format("\"{}\" as a time", text));
}

std::string issuer_key_id_of(const Certificate& certificate) {
  if (const ASN1_OCTET_STRING* id = X509_get0_authority_key_id(certificate.x509()))
    return to_hex({ASN1_STRING_get0_data(id), static_cast<std::size_t>(ASN1_STRING_length(id))});
  bool is_root = certificate.subject() == certificate.issuer();
  return is_root ? certificate.subject_key_identifier() : "";
}

Standing CertificateLedger::standing(SubjectKind kind, const std::string& subject) {
  Standing standing;
  select_each(
      database_, standing_query(kind),
      [&](CertificateRecord record) {
        std::optional<CertificateRecord>& place = record.state == CertificateState::issued ? standing.issued
                                                  : record.state == CertificateState::reserved
                                                      ? standing.reserved
                                                      : standing.revoked;
        if (!place || place->generation < record.generation) place = std::move(record);
      },
      subject, subject, subject);
  return standing;
}

std::optional<CertificateRecord> CertificateLedger::live(SubjectKind kind, const std::string& subject) {
  Standing found = standing(kind, subject);
  return found.issued ? found.issued : found.reserved;
}

std::optional<CertificateRecord> CertificateLedger::with_public_key(const std::string& fingerprint) {
  static const std::string kText =
      select_where("public_key = :key ORDER BY abandonment, renewal DESC LIMIT 1");
  return select_one(database_, kText, fingerprint);
}

std::optional<StationRecord> CertificateLedger::station_with_key_id(const std::string& key_id) {
  static const std::string kText =
      "SELECT serial, subject, not_before, not_after, certificate, state, generation FROM certificates "
      "WHERE kind = 'station' AND key_id = :key_id AND state IN ('issued', 'revoked')";
  std::optional<StationRecord> newest;
  StationRecord record;
  record.key_id = key_id;
  std::string certificate;
  std::string state;
  long long not_before = 0;
  long long not_after = 0;
  long long generation = 0;
  long long newest_generation = 0;
  auto look = [&] {
    if (generation <= newest_generation) return;
    newest_generation = generation;
    record.not_before = Time(std::chrono::seconds(not_before));
    record.not_after = Time(std::chrono::seconds(not_after));
    record.certificate = from_hex(certificate).value_or(Bytes());
    record.state = from_name(kStates, state);
    newest = record;
  };
  // Not sorted by SQLite, which would make a table for it each time.
  using soci::into;
  database_.rows(kText, look, into(record.serial), into(record.subject), into(not_before), into(not_after),
                 into(certificate), into(state), into(generation), soci::use(key_id));
  return newest;
}

std::vector<Bytes> CertificateLedger::of_station(const std::string& key_id) {
  std::vector<Bytes> certificates;
  std::string certificate;
  database_.rows(
      "SELECT certificate FROM certificates WHERE kind = 'station' AND key_id = :key_id AND "
      "state IN ('issued', 'revoked') ORDER BY generation DESC",
      [&] { certificates.push_back(from_hex(certificate).value_or(Bytes())); }, soci::into(certificate),
      soci::use(key_id));
  return certificates;
}

std::optional<CertificateRecord> CertificateLedger::with_serial(const std::string& serial) {
  static const std::string kText = select_where("serial = :serial");
  return select_one(database_, kText, serial);
}

bool CertificateLedger::is_revoked(const std::string& serial) {
  return is_there("SELECT 1 FROM certificates WHERE serial = :serial AND state = 'revoked'", serial);
}

bool CertificateLedger::is_station_in_good_standing(const std::string& key_id) {
  // Who is renewed has the one before revoked.
  return is_there(
      "SELECT 1 FROM certificates WHERE kind = 'station' AND key_id = :key_id AND state = 'issued'", key_id);
}

bool CertificateLedger::is_there(const std::string& query, const std::string& value) {
  int one = 0;
  return database_.row(query, soci::into(one), soci::use(value));
}

void CertificateLedger::each(SubjectKind kind, const std::string& order,
                             const std::function<void(const CertificateRecord&)>& look) {
  std::string kind_name(name_of(kind));
  // `issued_at <> ''` says no more, but names the index.
  constexpr std::string_view kRest =
      "issued_at <> '' AND state IN ('issued', 'revoked') ORDER BY issued_at, serial";
  if (order.empty()) {
    select_each(database_, select_where(fmt::format("kind = :kind AND {}", kRest)), look, kind_name);
  } else {
    select_each(database_, select_where(fmt::format("kind = :kind AND order_id = :order_id AND {}", kRest)),
                look, kind_name, order);
  }
}

long long CertificateLedger::count(CertificateState state) {
  long long count = 0;
  std::string name(name_of(state));
  database_.row("SELECT count(*) FROM certificates WHERE state = :state", soci::into(count), soci::use(name));
  return count;
}

OrderProgress CertificateLedger::progress_of(const OrderId& order) {
  OrderProgress progress;
  database_.row(
      "SELECT count(*), coalesce(sum(confirmation = 'accepted'), 0) FROM "
      "(SELECT confirmation, max(generation) FROM certificates WHERE kind = 'device' AND "
      "order_id = :order_id AND issued_at <> '' AND state IN ('issued', 'revoked') GROUP BY subject)",
      soci::use(order.text()), soci::into(progress.issued), soci::into(progress.confirmed));
  return progress;
}

std::map<std::string, long long> CertificateLedger::places_taken() {
  std::map<std::string, long long> places;
  std::string order;
  long long devices = 0;
  database_.rows(
      "SELECT order_id, count(DISTINCT subject) FROM certificates NOT INDEXED WHERE kind = 'device' AND "
      "state <> 'abandoned' GROUP BY order_id",
      [&] { places[order] = devices; }, soci::into(order), soci::into(devices));
  return places;
}

void CertificateLedger::each_revoked(const std::string& issuer_key_id,
                                     const std::function<void(const RevokedCertificate&)>& look) {
  // The plus keeps SQLite from walking all certificates in the order of their numbers.
  with_store_errors([&] {
    RevokedCertificate revoked;
    std::string reason;
    std::string date;
    long long not_after = 0;
    long long first_list = 0;
    soci::statement rows =
        (database_.sql().prepare << "SELECT serial, revocation_reason, revoked_at, not_after, "
                                    "revocation_number FROM certificates WHERE state = 'revoked' AND "
                                    "issuer_key_id = :issuer ORDER BY +serial",
         soci::use(issuer_key_id), soci::into(revoked.serial), soci::into(reason), soci::into(date),
         soci::into(not_after), soci::into(first_list));
    rows.execute();
    while (rows.fetch()) {
      revoked.reason = reason_from_name(reason);
      revoked.date = time_on_record(date);
      revoked.not_after = Time(std::chrono::seconds(not_after));
      revoked.first_list = static_cast<std::uint64_t>(first_list);
      look(revoked);
    }
  });
}

void CertificateLedger::reserve(const CertificateRecord& record) {
  using soci::use;
  std::string kind(name_of(record.kind));
  std::string tbs = to_hex(record.tbs);
  std::string digest = sha256_hex(record.tbs);
  long long not_before = record.not_before.time_since_epoch().count();
  long long not_after = record.not_after.time_since_epoch().count();
  database_.change(
      "INSERT INTO certificates (serial, kind, subject, order_id, sender, profile, profile_digest, "
      "issuer_key_id, public_key, key_algorithm, key_id, not_before, not_after, tbs, tbs_digest, statement, "
      "supersedes, generation, renewal, rework, state) "
      "VALUES (:serial, :kind, :subject, :order_id, :sender, :profile, :profile_digest, :issuer_key_id, "
      ":public_key, :key_algorithm, :key_id, :not_before, :not_after, :tbs, :tbs_digest, :statement, "
      ":supersedes, :generation, :renewal, :rework, 'reserved')",
      use(record.serial), use(kind), use(record.subject), use(record.order), use(record.sender),
      use(record.profile), use(record.profile_digest), use(record.issuer_key_id), use(record.public_key),
      use(record.key_algorithm), use(record.key_id), use(not_before), use(not_after), use(tbs), use(digest),
      use(record.statement), use(record.supersedes), use(record.generation), use(record.renewal),
      use(record.rework));
}

void CertificateLedger::abandon(const std::string& serial) {
  database_.change(
      "UPDATE certificates SET state = 'abandoned', abandonment = (SELECT max(abandonment) + 1 FROM "
      "certificates AS other WHERE other.public_key = certificates.public_key) "
      "WHERE serial = :serial AND state = 'reserved'",
      soci::use(serial));
}

void CertificateLedger::take_over(const std::string& serial, const std::string& sender,
                                  const std::string& statement) {
  database_.change(
      "UPDATE certificates SET sender = :sender, statement = :statement "
      "WHERE serial = :serial AND state = 'reserved'",
      soci::use(sender), soci::use(statement), soci::use(serial));
}

bool CertificateLedger::commit(const std::string& serial, BytesView certificate, Time now) {
  std::string der = to_hex(certificate);
  std::string issued_at = format_time(now);
  return database_.change(
             "UPDATE certificates SET state = 'issued', certificate = :certificate, tbs = '', "
             "issued_at = :issued_at WHERE serial = :serial AND state = 'reserved'",
             soci::use(der), soci::use(issued_at), soci::use(serial)) == 1;
}

void CertificateLedger::confirm(const std::string& serial, Confirmation confirmation, Time now) {
  std::string name(name_of(confirmation));
  std::string confirmed_at = format_time(now);
  database_.change(
      "UPDATE certificates SET confirmation = :confirmation, confirmed_at = :confirmed_at "
      "WHERE serial = :serial",
      soci::use(name), soci::use(confirmed_at), soci::use(serial));
}

void CertificateLedger::revoke(const std::string& serial, RevocationReason reason, Time now) {
  std::string revoked_at = format_time(now);
  std::string reason_name(name_of(reason));
  database_.change(
      "UPDATE certificates SET state = 'revoked', revoked_at = :revoked_at, revocation_reason = :reason, "
      "revocation_number = (SELECT coalesce(max(number), 0) + 1 FROM crls "
      "WHERE crls.issuer_key_id = certificates.issuer_key_id) WHERE serial = :serial AND state = 'issued'",
      soci::use(revoked_at), soci::use(reason_name), soci::use(serial));
}

std::optional<Time> CertificateLedger::latest_time() {
  long long seconds = 0;
  bool found =
      database_.row("SELECT not_before FROM certificates WHERE disowned = 0 ORDER BY not_before DESC LIMIT 1",
                    soci::into(seconds));
  return found ? std::optional(Time(std::chrono::seconds(seconds))) : std::nullopt;
}

std::vector<CertificateRecord> CertificateLedger::later_than(Time now) {
  static const std::string kText = select_where("not_before > :now AND disowned = 0 ORDER BY not_before");
  std::vector<CertificateRecord> later;
  long long seconds = now.time_since_epoch().count();
  select_each(
      database_, kText, [&](CertificateRecord record) { later.push_back(std::move(record)); }, seconds);
  return later;
}

long long CertificateLedger::disown_later(Time now) {
  long long seconds = now.time_since_epoch().count();
  return database_.change("UPDATE certificates SET disowned = 1 WHERE not_before > :now AND disowned = 0",
                          soci::use(seconds));
}

std::optional<std::string> CertificateLedger::at_odds_with_its_state() {
  std::string serial;
  bool found = database_.row(
      "SELECT serial FROM certificates WHERE (state = 'abandoned') <> (abandonment > 0) OR (state <> "
      "'revoked' "
      "AND (revoked_at <> '' OR revocation_reason <> 'unspecified' OR revocation_number <> 1)) LIMIT 1",
      soci::into(serial));
  return found ? std::optional(serial) : std::nullopt;
}

long long CertificateLedger::count_disowned() {
  long long count = 0;
  database_.row("SELECT count(*) FROM certificates WHERE disowned <> 0", soci::into(count));
  return count;
}

}  // namespace fleetroot::ca
