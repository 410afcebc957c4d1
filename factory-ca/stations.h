// Which stations may submit requests.
#pragma once

#include "factory-ca/home.h"
#include "factory-ca/ledger.h"
#include "lib/base/clock.h"
#include "lib/x509/certificate_request.h"

namespace fleetroot::ca {

// The station's certificate; the same again for the same name and key. Bound to `orders`, unless there are
// none. Error(bad_request) if the request is not sound or is not in this name, Error(order_unknown),
// Error(device_has_certificate, key_reused) as certify() says, Error(not_authorised) if that certificate has
// ended.
Certificate enroll_station(const Home& home, const StationName& name, const CertificateRequest& request,
                           const std::vector<OrderId>& orders, const Clock& clock);

// By hand, for a station that no network reaches: the next certificate of its key, as renew_station() says,
// also after the present one has ended. Error(configuration) if no such station is enrolled.
Certificate renew_enrolled_station(const Home& home, const StationName& name, const Clock& clock);

// Lets the station work on these orders alone; on all, if there are none. Error(order_unknown),
// Error(configuration) if no such station is enrolled.
void bind_station(Ledger& ledger, const StationName& name, const std::vector<OrderId>& orders,
                  const Clock& clock);

// Whether the station with this subject key identifier is known, and not revoked.
bool is_in_good_standing(Ledger& ledger, BytesView key_id);
Error station_is_revoked(const std::string& name);

// The station whose certificate has this subject key identifier; Error(not_authorised) if it is unknown,
// revoked, or not valid any more, Error(clock) if not yet.
StationRecord enrolled_station(Ledger& ledger, BytesView key_id, Time now);

}  // namespace fleetroot::ca
