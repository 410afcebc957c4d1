#include "factory-ca/respond.h"

#include "lib/base/process.h"
#include "lib/cmp/message.h"

namespace fleetroot::ca {

void respond(Issuer& issuer, int in, int out) {
  constexpr std::chrono::minutes kPatience{10};
  for (;;) {
    std::optional<Bytes> message = cmp::read_message(in, std::chrono::steady_clock::now() + kPatience);
    if (!message) return;
    // Whoever asked is gone: what was issued is in the ledger, and the next request gets it.
    if (!write_fully(out, run_alone(issuer.answer(*message)))) return;
  }
}

}  // namespace fleetroot::ca
