// How a station asks a CA for certificates. Named by a URL: exec:COMMAND, https://host:port and
// cmp+http://host:port speak CMP (transport.h), est+https://host:port speaks EST (est_client.h).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/names.h"
#include "lib/cmp/client.h"
#include "lib/http/tls.h"

namespace fleetroot::station {

class Home;
struct Settings;

// What the station shows to the CA, and what it believes of it.
struct Caller {
  cmp::Identity station;
  std::vector<Certificate> issuing;  // pinned; the first signs the CA's messages
  std::vector<Certificate> fleet_roots;
  std::optional<OrderId> order;  // none for what concerns the station itself

  http::ClientTls tls() const;
};

// One thread. A certificate that is valid only in a moment, because two clocks are a little apart, is waited
// for: a minute at most, and a line on stderr says so.
class CaClient {
 public:
  virtual ~CaClient() = default;
  // A certificate for a device. `accept` is called with it before the CA hears that it has arrived, where the
  // protocol has a word for that. Throws as cmp::Client::enroll() does, on whatever way.
  virtual cmp::Enrolled enroll(const CertificateRequest& request, const cmp::Accept& accept) = 0;
  // Whether a request was sent more than once, because an answer did not come: of what the CA refuses then,
  // it may have certified an earlier try.
  virtual bool has_lost_an_answer() const = 0;
  // Whether any request may have reached the CA.
  virtual bool has_sent() const = 0;
  // The next certificate of the station, for the key that it has.
  virtual cmp::Enrolled renew(const cmp::Accept& accept) = 0;
  // No more requests: the other side may leave, while other things happen.
  virtual void finish() = 0;
};

// Checks the URL only. Error(usage) names the ways that there are.
void refuse_unless_ca_url(const std::string& url);

// Where station.toml says that requests go. Error(configuration) with file and key if that is no such URL, or
// with the hint to enroll.
std::string configured_ca(const Home& home, const Settings& settings);

// Opens the way; an exec: child starts at once, and gets ready while other things happen. `caller` is asked
// once, before the first request.
std::unique_ptr<CaClient> open_ca(const std::string& url, int timeout_seconds,
                                  std::function<Caller()> caller);

}  // namespace fleetroot::station
