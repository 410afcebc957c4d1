// A station's own certificate, renewed before it ends.
#pragma once

#include "lib/base/clock.h"
#include "tool/companions.h"
#include "tool/home.h"

namespace fleetroot::station {

struct Renewal {
  Certificate certificate;
  bool is_new = false;
};

// Asks the CA for the next certificate of the station's key, checks it as `enroll` does, and puts it in the
// old one's place, atomically. The CA gives the current one again while more than half of its life is left.
// `ca`: where to ask. Error as the CA and the transport say.
Renewal renew(const Home& home, const std::string& ca, const Clock& clock);

// The same before other work, when two thirds of the certificate's life are over: then what the operator came
// for goes on, whether or not it succeeds, with the companions, which begin anew where they must. Says on
// stderr what it did, or why it could not. Of several processes of a station one asks, and the others work
// on.
void renew_if_due(const Home& home, const Settings& settings, Companions& companions, const Clock& clock);

}  // namespace fleetroot::station
