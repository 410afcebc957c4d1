// Step 7 where somebody carries requests and answers: a certificate asked for by post.
#pragma once

#include <filesystem>
#include <functional>

#include "lib/base/clock.h"
#include "tool/ca_client.h"
#include "tool/media_queue.h"

namespace fleetroot::station {

// One thread.
class MediaClient {
 public:
  // Refers to the journal. `caller` is asked when a message has to be made; its order is the request's.
  MediaClient(std::filesystem::path queue, MediaJournal& journal, OrderId order,
              std::function<Caller()> caller)
      : queue_(std::move(queue), journal), order_(std::move(order)), caller_(std::move(caller)) {}

  // True once the answer to this device's request was here and `accept` has returned; what became of it is
  // left as a receipt, for the CA to hear by the next bundle. False while there is no answer: the request
  // lies in the queue then, durably. Throws what the CA refused the request with, and what `accept` throws.
  bool enroll(const CertificateRequest& request, const cmp::Accept& accept, Time now);

 private:
  MediaQueue queue_;
  OrderId order_;
  std::function<Caller()> caller_;
};

}  // namespace fleetroot::station
