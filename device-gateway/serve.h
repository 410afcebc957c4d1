// A gateway that serves: a front for each environment, and an eye on what is imported meanwhile.
#pragma once

#include <map>
#include <string>

#include "device-gateway/home.h"

namespace fleetroot::gateway {

struct Serving {
  std::map<std::string, std::string> listen;  // environment -> address, "127.0.0.1:0"
  std::string metrics;                        // address; empty: none
  bool is_rehearsal = false;
};

// Prints "listening on https://ADDRESS (ENVIRONMENT)" for each, then serves until SIGTERM, SIGINT or SIGHUP;
// 0. What other processes change in the registry holds within seconds, for open connections too.
// Error(token_unplugged), as a rule, once the token does not sign any more: whoever starts this again opens
// it anew. Error(io) once the registry was moved away or replaced: that, too, is opened anew then.
int serve(const Home& home, const Serving& serving, const Clock& clock);

}  // namespace fleetroot::gateway
