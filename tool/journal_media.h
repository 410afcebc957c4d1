// What the journal knows of removable media: which device's request waits, in which bundle it went out, what
// came back, and what the CA has still to hear. One transaction a call.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/media/request_bundle.h"
#include "lib/media/response_bundle.h"
#include "lib/store/database.h"

namespace fleetroot::station {

// A device's request, from when it is queued until the device has its certificate by any way.
struct QueuedRequest {
  DeviceId device_id;
  OrderId order;
  std::string digest;      // SHA-256 of the PKIMessage
  std::string public_key;  // fingerprint
  long long bundle = 0;    // the bundle that carries it; 0 while none does
  Bytes certificate;       // the CA's answer, DER; empty while there is none
  std::optional<Error> refusal;

  bool is_answered() const { return !certificate.empty() || refusal; }
};

struct QueuedReceipt {
  OrderId order;
  media::Receipt receipt;
};

struct SentBundle {
  long long sequence = 0;
  std::string digest;  // SHA-256 of what was signed
  OrderId order;
};

class MediaJournal {
 public:
  explicit MediaJournal(Database& database) : database_(database) {}

  std::optional<QueuedRequest> request(const DeviceId& device_id);
  // In place of any earlier one of the device.
  void queue(const QueuedRequest& request, Time now);
  void forget(const DeviceId& device_id);
  // The device has this certificate by another way: nobody waits for the answer any more.
  void answer_otherwise(const DeviceId& device_id, const Bytes& certificate);
  // In no bundle yet, by order and device.
  std::vector<QueuedRequest> requests_to_send();
  // Whose devices have not come for the answer yet, or had it by another way.
  std::vector<QueuedRequest> answered_requests();

  // The last word on this certificate.
  void add_receipt(const QueuedReceipt& receipt);
  std::vector<QueuedReceipt> receipts_to_send();

  std::optional<SentBundle> last_bundle();
  // Those that have no answer yet, in order.
  std::vector<SentBundle> open_bundles();
  // From now on what is in it is on its way.
  void send(const SentBundle& bundle, const media::RequestBundle& content, Time now);
  // The answers go to the requests that they answer; what they leave open is sent again some day.
  void take(const media::ResponseBundle& response, Time now);

 private:
  std::vector<QueuedRequest> requests_where(const std::string& condition);

  Database& database_;
};

}  // namespace fleetroot::station
