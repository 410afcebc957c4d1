#include "factory-ca/stations.h"

#include <fmt/format.h>

#include "factory-ca/ca_key.h"

namespace fleetroot::ca {
namespace {

CertificateRecord enrolled(Ledger& ledger, const StationName& name) {
  std::optional<CertificateRecord> station =
      ledger.certificates.standing(SubjectKind::station, name.text()).issued;
  if (station) return *std::move(station);
  throw Error(ErrorCode::bad_request, fmt::format("there is no enrolled station {}", name.text()),
              "fleetroot-ca station list shows the stations");
}

// Inside a WriteTransaction.
void bind_and_log(Ledger& ledger, const StationName& name, const std::vector<OrderId>& orders, Time now) {
  std::vector<std::string> names;
  for (const OrderId& order : orders) names.push_back(ledger.orders.get(order).id.text());
  ledger.station_orders.bind(name.text(), orders);
  ledger.log.append("station.bound", now, {{"subject", name.text()}, {"orders", names}});
}

void refuse_if_ended(const std::string& station, Time not_after, Time now) {
  if (now <= not_after) return;
  throw Error(ErrorCode::not_authorised,
              fmt::format("the certificate of station {} ended at {}", station, format_time(not_after)),
              "where the CA's clock is right, run fleetroot-ca station renew there, and have the station "
              "enroll with what it writes");
}

// certify() would give it the same certificate again.
void refuse_if_own_has_ended(Ledger& ledger, const StationName& name, const PublicKey& key, Time now) {
  std::optional<CertificateRecord> own =
      ledger.certificates.standing(SubjectKind::station, name.text()).issued;
  if (own && own->public_key == key.fingerprint()) refuse_if_ended(name.text(), own->not_after, now);
}

}  // namespace

Certificate enroll_station(const Home& home, const StationName& name, const CertificateRequest& request,
                           const std::vector<OrderId>& orders, const Clock& clock) {
  request.refuse_unless_sound();
  // In the ledger and in reports a certificate's sender is a station, or this.
  if (name.text() == "operator") {
    throw Error(ErrorCode::usage, "no station may be called operator: that is who issues by hand",
                "make the station anew under another name");
  }
  if (request.common_name() != name.text()) {
    throw Error(ErrorCode::bad_request,
                fmt::format("the request is for {}, not for station {}", request.common_name(), name.text()),
                "enroll the station under the name that it was made with");
  }
  refuse_unless_signs_messages(request.public_key().algorithm());
  Settings settings = home.settings();
  Ledger ledger(home.ledger());
  CaKey issuing(issuing_key_of(settings), home.issuing_certificate());
  Time now = ledger.time_of_issue(clock);
  refuse_if_own_has_ended(ledger, name, request.public_key(), now);
  // Before it has a certificate: there is no moment at which it may do more.
  auto bind = [&] {
    if (!orders.empty()) bind_and_log(ledger, name, orders, now);
  };
  Time not_after = std::min(settings.station_validity.end(now), issuing.certificate().not_after());
  return certify(ledger, issuing.signer(), SubjectKind::station, name.text(),
                 station_plan(name.text(), request.public_key(), now, not_after), clock, bind);
}

Certificate renew_enrolled_station(const Home& home, const StationName& name, const Clock& clock) {
  Settings settings = home.settings();
  Ledger ledger(home.ledger());
  PublicKey key = Certificate::from_der(enrolled(ledger, name).certificate).public_key();
  CaKey issuing(issuing_key_of(settings), home.issuing_certificate());
  return renew_station(ledger, issuing.signer(), name.text(), key, settings.station_validity, clock);
}

bool is_in_good_standing(Ledger& ledger, BytesView key_id) {
  return ledger.certificates.is_station_in_good_standing(to_hex(key_id));
}

Error station_is_revoked(const std::string& name) {
  return {ErrorCode::not_authorised, fmt::format("the station {} is revoked", name),
          "ask the PKI engineer why; a revoked station needs a new key"};
}

StationRecord enrolled_station(Ledger& ledger, BytesView key_id, Time now) {
  std::optional<StationRecord> station = ledger.certificates.station_with_key_id(to_hex(key_id));
  if (!station) {
    throw Error(ErrorCode::not_authorised, "this factory CA knows no station with this key",
                "enroll the station: fleetroot-ca station enroll");
  }
  if (station->state == CertificateState::revoked) throw station_is_revoked(station->subject);
  if (now < station->not_before) {
    throw Error(ErrorCode::clock,
                fmt::format("the certificate of station {} begins at {}", station->subject,
                            format_time(station->not_before)),
                "set the CA's clock right: it is behind");
  }
  refuse_if_ended(station->subject, station->not_after, now);
  return *std::move(station);
}

void bind_station(Ledger& ledger, const StationName& name, const std::vector<OrderId>& orders,
                  const Clock& clock) {
  Time now = clock.now();
  WriteTransaction transaction = ledger.write();
  (void)enrolled(ledger, name);
  bind_and_log(ledger, name, orders, now);
  transaction.commit();
}

}  // namespace fleetroot::ca
