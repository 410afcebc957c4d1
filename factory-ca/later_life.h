// What becomes of a device after the line, and of a station: reworked, revoked, scrapped. Each call is one
// transaction with its log entry; said twice, it changes nothing the second time.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "factory-ca/ledger.h"
#include "lib/x509/device_id.h"

namespace fleetroot::ca {

// How a command goes: for real, or only up to where its changes would become durable.
enum class Commitment { for_real, dry_run };

// Lets the device have one certificate for one new key; what it holds by then is superseded in the
// transaction that commits the new one. Returns the open one if there is one already. Error(not_on_order) for
// a device that never had a certificate, Error(device_scrapped).
Rework authorise_rework(Ledger& ledger, const DeviceId& device, const std::string& reason, const Clock& clock,
                        Commitment commitment);
// Error(not_on_order) if none is open.
void withdraw_rework(Ledger& ledger, const DeviceId& device, const Clock& clock);

struct Scrapped {
  ScrappedDevice device;
  std::optional<CertificateRecord> revoked;  // what was its certificate
  // Where it had none any more: the last one, with the reason that it was revoked for, which stays.
  std::optional<CertificateRecord> revoked_before{};
  bool is_new = false;
};
// Revokes its certificate, gives up a reservation and its place, withdraws an open rework, and refuses the ID
// for ever. Error(not_on_order) for a device that is on no order and has no certificate: a typing error.
Scrapped scrap(Ledger& ledger, const DeviceId& device, const ScrapCause& cause, const Clock& clock,
               Commitment commitment);

struct Revoked {
  CertificateRecord certificate;  // as it is now; as it was after a dry run
  bool is_new = false;
};
// By its subject, the newest one; or by its number. Error(not_on_order) if nothing was issued so,
// Error(usage) for a reason that is not for ever.
Revoked revoke_certificate(Ledger& ledger, const DeviceId& device, RevocationReason reason,
                           const Clock& clock, Commitment commitment);
// `own`: the CA's own certificate, which the root's ledger alone may have until it is revoked here, too.
Revoked revoke_certificate(Ledger& ledger, const SerialNumber& serial, RevocationReason reason,
                           const Clock& clock, Commitment commitment,
                           const std::optional<Certificate>& own = {});
// From the next message on, nothing that this station signs is answered with a certificate.
Revoked revoke_station(Ledger& ledger, const StationName& station, RevocationReason reason,
                       const Clock& clock, Commitment commitment);

struct Disowned {
  std::vector<CertificateRecord> revoked;  // as they were
  std::size_t given_up = 0;                // reservations
};
// What is from later than now, because the clock was ahead: certificates are revoked, reservations given up
// with their places, and none of it holds up what is issued now. Error(clock) if `own`, the certificate that
// issued them, is itself from later.
Disowned disown_later(Ledger& ledger, const Certificate& own, const Clock& clock, Commitment commitment);

// Inside a WriteTransaction: gives up what is reserved for the device, and its place where it has that alone.
void give_up_reservation(Ledger& ledger, const Standing& device);

// Error(device_scrapped)
void refuse_if_scrapped(Ledger& ledger, const DeviceId& device);

// Inside a WriteTransaction: revokes an issued certificate, with the log entry that says so. Error(clock) if
// it is from later than now.
void revoke_and_log(Ledger& ledger, const CertificateRecord& certificate, RevocationReason reason, Time now);

}  // namespace fleetroot::ca
