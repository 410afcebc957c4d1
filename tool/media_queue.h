// media:DIR, a way to the CA that somebody walks: requests lie in a directory, one file a device, until they
// are carried off (media_exchange.h), and answers come back by the journal.
//
//   DIR/ORDER/DEVICE.p10cr     the PKIMessage
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "tool/journal_media.h"

namespace fleetroot::station {

// The directory that a URL names; nothing for other kinds of URLs. Error(usage) if it names none.
std::optional<std::filesystem::path> media_queue_of(const std::string& url);

class MediaQueue {
 public:
  // Refers to the journal. Makes the directory when something is put into it.
  MediaQueue(std::filesystem::path directory, MediaJournal& journal)
      : directory_(std::move(directory)), journal_(journal) {}

  // Asks the CA for the device's certificate on this order and this key, and returns the answer, in DER, once
  // it has come back. Nothing while it has not: then the request lies here, durably, made by `message` unless
  // it was before; the answer is for that very message. Throws what the CA refused it with, once; the next
  // call asks again. Error(usage) if this key's request went to the CA for another order.
  std::optional<Bytes> ask(const DeviceId& device_id, const OrderId& order, const std::string& public_key,
                           const std::function<Bytes()>& message, Time now);
  // What became of the answer: the last word, which the CA hears by the next bundle.
  void leave_receipt(const DeviceId& device_id, const OrderId& order, const SerialNumber& serial,
                     bool accepted);

  // Error(usage) if there is no such directory and the journal knows of requests that must lie in one: then
  // it is another's name.
  void refuse_unless_there() const;
  // The message of a request, if it lies here, unchanged.
  std::optional<Bytes> message(const QueuedRequest& request) const;
  // The request of this digest, after it has been answered; a newer one in its place stays.
  void remove(const DeviceId& device_id, const OrderId& order, const std::string& digest) const;
  // What lies here still, because the device has its certificate by another way, or because somebody was
  // killed between the answer's being known and that.
  void remove_answered() const;

 private:
  std::optional<QueuedRequest> find(const DeviceId& device_id, const OrderId& order,
                                    const std::string& public_key) const;
  void refuse_if_sent(const QueuedRequest& request) const;
  void put(const DeviceId& device_id, const OrderId& order, const std::string& public_key, BytesView message,
           Time now);
  std::optional<Bytes> message(const DeviceId& device_id, const OrderId& order,
                               const std::string& digest) const;
  std::filesystem::path file(const DeviceId& device_id, const OrderId& order) const;

  std::filesystem::path directory_;
  MediaJournal& journal_;
};

}  // namespace fleetroot::station
