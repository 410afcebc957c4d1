// fleetroot-ca serve: three processes. This one holds the listening sockets and starts the two others again
// when they die; it loads no module, starts no thread and never hears a PIN.
//
//   front    speaks HTTP(S) on the network; no key of the CA, no PIN
//   signer   has the issuing key and the ledger; no network, only the Unix socket signer.sock in the home
//
// Each ends when its stdin ends, so none outlives this one.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "factory-ca/front.h"
#include "factory-ca/home.h"

namespace fleetroot::ca {

struct ServeOptions {
  std::vector<std::string> listen;
  // Names and addresses that stations call this server by, besides those it listens on.
  std::vector<std::string> names;
  // The only one that may be issued for, if set.
  std::optional<OrderId> order{};
  FrontSettings front{};
};

// Serves until SIGTERM or SIGINT; then finishes what was accepted. `announce` is called once it serves, with
// each address. The exit code: 0, or the one that signer or front could not start with, after it has said
// why; once it serves, only a wrong PIN ends it so. Error(busy) if this home is being served already,
// Error(order_unknown) if the only order is none.
int serve(const Home& home, ServeOptions options,
          const std::function<void(const std::string& address)>& announce);

}  // namespace fleetroot::ca
