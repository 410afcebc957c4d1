// Every certificate that this CA has decided on, from the moment before it is signed (docs/issuance-cycle.md,
// steps 7 and 9). What the unique indexes say holds whatever the code above does: one live certificate for
// each subject and at most one reservation beside it, one subject for each public key, one use of each serial
// number.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/names.h"
#include "lib/store/database.h"
#include "lib/x509/certificate.h"
#include "lib/x509/revocation_reason.h"

namespace fleetroot::ca {

// What a certificate is for. Devices, stations, and the CAs with the server that speaks for them live in name
// spaces of their own.
enum class SubjectKind { device, station, authority };
std::string_view name_of(SubjectKind kind);

// reserved: durable, perhaps signed, never shown to anybody. issued: signed and handed out. abandoned: a
// reservation that was given up. revoked: issued once.
enum class CertificateState { reserved, issued, abandoned, revoked };
std::string_view name_of(CertificateState state);

// What the subject's side said about the certificate.
enum class Confirmation { none, accepted, rejected };
std::string_view name_of(Confirmation confirmation);

struct CertificateRecord {
  std::string serial;  // hexadecimal
  SubjectKind kind = SubjectKind::device;
  std::string subject;  // device ID, station name, CA name
  std::string order;    // empty unless kind is device
  std::string sender;   // the station whose request was finished, or "operator"
  std::string profile;
  std::string profile_digest;
  std::string issuer_key_id;
  std::string public_key;  // fingerprint
  std::string key_algorithm;
  std::string key_id;  // subject key identifier, hexadecimal
  Time not_before;
  Time not_after;
  Bytes tbs;          // while reserved
  Bytes certificate;  // from issued on
  std::string statement;
  CertificateState state = CertificateState::reserved;
  std::string issued_at{};
  Confirmation confirmation = Confirmation::none;
  std::string confirmed_at{};
  // The subject's first certificate has 1; what comes after another one names it.
  int generation = 1;
  std::string supersedes{};  // serial, or empty
  // Only a station's certificate is renewed for the same key: then it counts from 1 here.
  int renewal = 0;
  // The one that this was reserved under; 0 for a device's first, and for what is no device's.
  long long rework = 0;
  // Once revoked.
  RevocationReason revocation_reason = RevocationReason::unspecified;
  std::string revoked_at{};
  long long first_list = 0;  // the lowest number of a list that names it
};

// What a station is known by, of its newest certificate: read for every message.
struct StationRecord {
  std::string serial;
  std::string subject;
  std::string key_id;
  Time not_before;
  Time not_after;
  Bytes certificate;
  CertificateState state = CertificateState::issued;
};

// A revocation as a list has it.
struct RevokedCertificate {
  std::string serial;
  RevocationReason reason = RevocationReason::unspecified;
  Time date;
  Time not_after;
  std::uint64_t first_list = 0;  // the lowest number of a list that names it
};

// Of an order: a device counts once, however often it was reworked, and by its last certificate.
struct OrderProgress {
  long long issued = 0;
  long long confirmed = 0;
};

// What the ledger holds of one subject; abandoned reservations left out.
struct Standing {
  std::optional<CertificateRecord> issued;
  std::optional<CertificateRecord> reserved;
  std::optional<CertificateRecord> revoked;  // the last of them

  // What the next certificate comes after.
  const std::optional<CertificateRecord>& predecessor() const { return issued ? issued : revoked; }
};

// How a record names who signed this: by its key, which is its own where a root names none, and empty where
// another's certificate does not say.
std::string issuer_key_id_of(const Certificate& certificate);
// A time as a record has it. Error(io) if it is none.
Time time_on_record(const std::string& text);

// Calls that change something belong into a WriteTransaction.
class CertificateLedger {
 public:
  explicit CertificateLedger(Database& database) : database_(database) {}

  Standing standing(SubjectKind kind, const std::string& subject);
  // The issued one of this subject, or else the reserved one.
  std::optional<CertificateRecord> live(SubjectKind kind, const std::string& subject);
  // Whose key this is: who holds, or ever held, a certificate for it or a reservation; else for whom the
  // first reservation was made that was given up. Whoever asked had proven the key.
  std::optional<CertificateRecord> with_public_key(const std::string& fingerprint);
  // The newest with this subject key identifier that was ever issued.
  std::optional<StationRecord> station_with_key_id(const std::string& key_id);
  // All that were ever issued for it, the newest first, in DER.
  std::vector<Bytes> of_station(const std::string& key_id);
  std::optional<CertificateRecord> with_serial(const std::string& serial);
  // Asked for every certificate that is issued, where the whole record would cost ten times as much.
  bool is_revoked(const std::string& serial);
  bool is_station_in_good_standing(const std::string& key_id);
  // Issued and revoked ones, oldest first; an empty order means all.
  void each(SubjectKind kind, const std::string& order,
            const std::function<void(const CertificateRecord&)>& look);

  long long count(CertificateState state);
  OrderProgress progress_of(const OrderId& order);
  // How many devices of each order have a certificate, had one, or have one reserved.
  std::map<std::string, long long> places_taken();

  // Everything revoked that this key signed, by serial number.
  void each_revoked(const std::string& issuer_key_id,
                    const std::function<void(const RevokedCertificate&)>& look);

  void reserve(const CertificateRecord& record);
  void abandon(const std::string& serial);
  // A reservation that somebody else made is finished for this request.
  void take_over(const std::string& serial, const std::string& sender, const std::string& statement);
  // False if the reservation is no longer there: another process has signed, or given it up.
  bool commit(const std::string& serial, BytesView certificate, Time now);
  void confirm(const std::string& serial, Confirmation confirmation, Time now);
  // Takes effect with the transaction; the next revocation list of its issuer names it.
  void revoke(const std::string& serial, RevocationReason reason, Time now);

  // The latest notBefore that was ever reserved, and not disowned: time must not run back behind it.
  std::optional<Time> latest_time();
  // What begins later than this, and is not disowned; the oldest first.
  std::vector<CertificateRecord> later_than(Time now);
  // Nothing of it holds time up any more. How many there were.
  long long disown_later(Time now);
  // The serial number of one that has a revocation's date, reason or list and is not revoked, or counts as an
  // abandoned reservation and is none.
  std::optional<std::string> at_odds_with_its_state();
  long long count_disowned();

 private:
  bool is_there(const std::string& query, const std::string& value);

  Database& database_;
};

}  // namespace fleetroot::ca
