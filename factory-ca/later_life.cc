#include "factory-ca/later_life.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "factory-ca/authority.h"

namespace fleetroot::ca {
namespace {

// Those that somebody may give. There is no hold: a device is trusted or it is not, and nothing that was
// revoked comes back (docs/operations.md).
void refuse_unless_permanent(RevocationReason reason) {
  static constexpr std::array kTemporary{RevocationReason::certificate_hold,
                                         RevocationReason::remove_from_crl, RevocationReason::aa_compromise};
  if (std::find(kTemporary.begin(), kTemporary.end(), reason) == kTemporary.end()) return;
  throw Error(ErrorCode::usage, fmt::format("nothing is revoked here for the reason {}", name_of(reason)),
              fmt::format("a revocation is for ever: choose {}", kPermanentReasons));
}

bool is_on_an_order(Ledger& ledger, const DeviceId& device) {
  std::vector<WorkOrder> orders = ledger.orders.list();
  return std::any_of(orders.begin(), orders.end(),
                     [&](const WorkOrder& order) { return ledger.orders.device(order, device).has_value(); });
}

Error nothing_issued(const std::string& whom, SubjectKind kind = SubjectKind::device) {
  return {ErrorCode::not_on_order, fmt::format("no certificate has been issued for {}", whom),
          kind == SubjectKind::station ? "fleetroot-ca station list shows the stations"
                                       : "fleetroot-ca cert list shows what was issued"};
}

void revoke_and_log_whenever(Ledger& ledger, const CertificateRecord& certificate, RevocationReason reason,
                             Time now) {
  ledger.certificates.revoke(certificate.serial, reason, now);
  ledger.log.append(fmt::format("{}.revoked", name_of(certificate.kind)), now,
                    {{"subject", certificate.subject},
                     {"serial", certificate.serial},
                     {"reason", std::string(name_of(reason))}});
}

Revoked revoke_record(Ledger& ledger, CertificateRecord record, RevocationReason reason, Time now,
                      WriteTransaction& transaction, Commitment commitment) {
  if (record.state != CertificateState::issued) return {.certificate = std::move(record)};
  revoke_and_log(ledger, record, reason, now);
  if (commitment == Commitment::for_real) {
    transaction.commit();
    record = ledger.certificates.with_serial(record.serial).value();
  }
  return {.certificate = std::move(record), .is_new = true};
}

Revoked revoke_newest(Ledger& ledger, SubjectKind kind, const std::string& subject, RevocationReason reason,
                      const Clock& clock, Commitment commitment) {
  refuse_unless_permanent(reason);
  Time now = clock.now();
  WriteTransaction transaction = ledger.write();
  std::optional<CertificateRecord> newest = ledger.certificates.standing(kind, subject).predecessor();
  if (!newest) throw nothing_issued(fmt::format("{} {}", name_of(kind), subject), kind);
  return revoke_record(ledger, *std::move(newest), reason, now, transaction, commitment);
}

}  // namespace

// A place is a certificate's or its reservation's: where there was no certificate before, nobody has it now.
void give_up_reservation(Ledger& ledger, const Standing& device) {
  ledger.certificates.abandon(device.reserved->serial);
  if (!device.predecessor()) ledger.orders.give_place_back(OrderId::parse(device.reserved->order));
}

void refuse_if_scrapped(Ledger& ledger, const DeviceId& device) {
  std::optional<ScrappedDevice> scrapped = ledger.scrapped.find(device.text());
  if (!scrapped) return;
  throw Error(
      ErrorCode::device_scrapped,
      fmt::format("device {} was scrapped at {} ({})", device.text(), scrapped->scrapped_at, scrapped->cause),
      "a scrapped device gets no certificate again: give what takes its place another ID");
}

void revoke_and_log(Ledger& ledger, const CertificateRecord& certificate, RevocationReason reason, Time now) {
  if (now < certificate.not_before) {
    throw Error(ErrorCode::clock,
                fmt::format("this machine's clock says {}, but the certificate {} is from {}",
                            format_time(now), certificate.serial, format_time(certificate.not_before)),
                kSetRightOrDisown);
  }
  revoke_and_log_whenever(ledger, certificate, reason, now);
}

Rework authorise_rework(Ledger& ledger, const DeviceId& device, const std::string& reason, const Clock& clock,
                        Commitment commitment) {
  Time now = clock.now();
  WriteTransaction transaction = ledger.write();
  refuse_if_scrapped(ledger, device);
  Standing standing = ledger.certificates.standing(SubjectKind::device, device.text());
  if (!standing.issued && !standing.reserved && !standing.revoked) {
    throw nothing_issued(fmt::format("device {}: there is nothing to rework", device.text()));
  }
  if (std::optional<Rework> open = ledger.reworks.open(device.text())) return *open;
  if (commitment == Commitment::dry_run) return {.device_id = device.text(), .reason = reason};
  ledger.reworks.authorise(device.text(), reason, now);
  Rework rework = ledger.reworks.open(device.text()).value();
  ledger.log.append("rework.authorised", now,
                    {{"device_id", device.text()}, {"rework", rework.id}, {"reason", reason}});
  transaction.commit();
  return rework;
}

void withdraw_rework(Ledger& ledger, const DeviceId& device, const Clock& clock) {
  Time now = clock.now();
  WriteTransaction transaction = ledger.write();
  std::optional<Rework> open = ledger.reworks.open(device.text());
  if (!open) {
    throw Error(ErrorCode::not_on_order, fmt::format("no rework of device {} is authorised", device.text()),
                "fleetroot-ca rework list shows what was authorised, and what became of it");
  }
  ledger.reworks.withdraw(device.text(), now);
  ledger.log.append("rework.withdrawn", now, {{"device_id", device.text()}, {"rework", open->id}});
  transaction.commit();
}

Scrapped scrap(Ledger& ledger, const DeviceId& device, const ScrapCause& cause, const Clock& clock,
               Commitment commitment) {
  Time now = clock.now();
  WriteTransaction transaction = ledger.write();
  if (std::optional<ScrappedDevice> before = ledger.scrapped.find(device.text())) {
    return {.device = *std::move(before), .revoked = {}};
  }
  Standing standing = ledger.certificates.standing(SubjectKind::device, device.text());
  bool is_known = standing.issued || standing.reserved || standing.revoked || is_on_an_order(ledger, device);
  if (!is_known) {
    throw Error(ErrorCode::not_on_order,
                fmt::format("device {} is on no order, and no certificate was issued for it", device.text()),
                "check the device ID");
  }
  Scrapped scrapped{.device = {.cause = cause.code(), .scrapped_at = format_time(now)},
                    .revoked = standing.issued,
                    .revoked_before = standing.issued ? std::nullopt : standing.revoked,
                    .is_new = true};
  if (standing.issued) revoke_and_log(ledger, *standing.issued, cause.reason(), now);
  if (standing.reserved) give_up_reservation(ledger, standing);
  if (std::optional<Rework> open = ledger.reworks.open(device.text())) {
    ledger.reworks.withdraw(device.text(), now);
    ledger.log.append("rework.withdrawn", now, {{"device_id", device.text()}, {"rework", open->id}});
  }
  ledger.scrapped.add(device.text(), cause, now);
  ledger.log.append("device.scrapped", now, {{"device_id", device.text()}, {"cause", cause.code()}});
  if (commitment == Commitment::for_real) transaction.commit();
  return scrapped;
}

Disowned disown_later(Ledger& ledger, const Certificate& own, const Clock& clock, Commitment commitment) {
  Time now = clock.now();
  if (own.not_before() > now) {
    throw Error(ErrorCode::clock,
                fmt::format("this machine's clock says {}, but this CA's own certificate is from {}",
                            format_time(now), format_time(own.not_before())),
                "set the clock right; where it is, and was ahead then, make a new CA");
  }
  WriteTransaction transaction = ledger.write();
  Disowned disowned;
  for (CertificateRecord& record : ledger.certificates.later_than(now)) {
    if (record.state == CertificateState::issued) {
      revoke_and_log_whenever(ledger, record, RevocationReason::unspecified, now);
      disowned.revoked.push_back(std::move(record));
    } else if (record.state == CertificateState::reserved) {
      if (record.kind == SubjectKind::device) {
        give_up_reservation(ledger, ledger.certificates.standing(record.kind, record.subject));
      } else {
        ledger.certificates.abandon(record.serial);
      }
      ++disowned.given_up;
    }
  }
  if (long long all = ledger.certificates.disown_later(now); all > 0)
    ledger.log.append("certificates.disowned", now, {{"certificates", all}});
  if (commitment == Commitment::for_real) transaction.commit();
  return disowned;
}

Revoked revoke_certificate(Ledger& ledger, const DeviceId& device, RevocationReason reason,
                           const Clock& clock, Commitment commitment) {
  return revoke_newest(ledger, SubjectKind::device, device.text(), reason, clock, commitment);
}

Revoked revoke_station(Ledger& ledger, const StationName& station, RevocationReason reason,
                       const Clock& clock, Commitment commitment) {
  return revoke_newest(ledger, SubjectKind::station, station.text(), reason, clock, commitment);
}

Revoked revoke_certificate(Ledger& ledger, const SerialNumber& serial, RevocationReason reason,
                           const Clock& clock, Commitment commitment, const std::optional<Certificate>& own) {
  refuse_unless_permanent(reason);
  Time now = clock.now();
  WriteTransaction transaction = ledger.write();
  std::optional<CertificateRecord> record = ledger.certificates.with_serial(serial.hex());
  if (!record && own && own->serial() == serial) record = record_own(ledger, *own, now);
  bool was_issued =
      record && (record->state == CertificateState::issued || record->state == CertificateState::revoked);
  if (!was_issued) throw nothing_issued("the serial number " + serial.hex());
  return revoke_record(ledger, *std::move(record), reason, now, transaction, commitment);
}

}  // namespace fleetroot::ca
