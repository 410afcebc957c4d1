// How a PKIMessage reaches the CA. Named by a URL: exec:COMMAND starts a child process that speaks DER on its
// stdin and stdout; https://host:port and cmp+http://host:port are in http_transport.h.
#pragma once

#include <memory>
#include <string>

#include "lib/base/bytes.h"

namespace fleetroot::station {

struct Caller;

class Transport {
 public:
  virtual ~Transport() = default;
  // Sends one message and returns the answer. Error(ca_unreachable) with a time-out, or when the other side
  // is gone. `caller`: for those that say in TLS who calls.
  virtual Bytes exchange(BytesView message, const Caller& caller) = 0;
  // As CaClient says.
  virtual bool has_lost_an_answer() const = 0;
  virtual bool has_sent() const = 0;
  // No more messages: the other side may leave, while other things happen.
  virtual void finish() = 0;
};

// Checks the URL only. Error(usage) names the transports that exist.
void refuse_unless_transport_url(const std::string& url);

// Opens it; an exec: child starts at once, and gets ready while other things happen.
std::unique_ptr<Transport> open_transport(const std::string& url, int timeout_seconds);

}  // namespace fleetroot::station
