#include "factory-ca/respond.h"

#include <cerrno>

#include "lib/base/error.h"
#include "lib/base/process.h"
#include "lib/cmp/message.h"

namespace fleetroot::ca {

void respond(Issuer& issuer, int in, int out) {
  constexpr std::chrono::minutes kPatience{10};
  for (;;) {
    std::optional<Bytes> message = cmp::read_message(in, std::chrono::steady_clock::now() + kPatience);
    if (!message) return;
    if (write_fully(out, run_alone(issuer.answer(*message)))) continue;
    // Whoever asked is gone: what was issued is in the ledger, and the next request gets it.
    if (errno == EPIPE) return;
    throw system_error(ErrorCode::io, "cannot write the answer", "check where it goes, and its free space",
                       errno);
  }
}

}  // namespace fleetroot::ca
