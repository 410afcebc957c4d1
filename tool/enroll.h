// Making a station one of a factory's, and checking that it still is.
#pragma once

#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/x509/certificate.h"
#include "tool/home.h"

namespace fleetroot::station {

struct Enrollment {
  Certificate certificate;
  std::vector<Certificate> issuing;
  std::vector<Certificate> fleet_roots;
  std::string ca;
};

// The certificate is for this key and name, and chains to a Fleet Root now. Error(certificate_rejected).
void refuse_unless_consistent(const Enrollment& enrollment, const PublicKey& station_key,
                              const StationName& name, Time now);

// Checks everything against everything (key, name, chain, validity, pins, the CA's URL) before it writes
// anything.
// Error(configuration) for another CA than the one that has this station's bundles; Error(busy) for its new
// certificate while one of them is on its way.
void enroll(const Home& home, const Enrollment& enrollment, Time now);

// One line a thing that was checked. Error(configuration, …) for the first that is wrong. Opens the station's
// key and signs with it.
std::vector<std::string> check_configuration(const Home& home, Time now);

}  // namespace fleetroot::station
