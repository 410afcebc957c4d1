// media:DIR, a way to the CA that somebody walks: requests lie in a directory, one file a device, until they
// are carried off (media_exchange.h), and answers come back by the journal.
//
//   DIR/ORDER/DEVICE.p10cr     the PKIMessage
#pragma once

#include <filesystem>
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

  // The device's request on this order for this key, if it lies here, is on its way, or has been answered.
  std::optional<QueuedRequest> find(const DeviceId& device_id, const OrderId& order,
                                    const std::string& public_key);
  // Durable when it returns, in place of any earlier request of the device.
  void put(const DeviceId& device_id, const OrderId& order, const std::string& public_key, BytesView message,
           Time now);

  // The message of a request, if it lies here, unchanged.
  std::optional<Bytes> message(const QueuedRequest& request) const;
  // After it has been answered.
  void remove(const DeviceId& device_id, const OrderId& order) const;

 private:
  std::filesystem::path file(const DeviceId& device_id, const OrderId& order) const;

  std::filesystem::path directory_;
  MediaJournal& journal_;
};

}  // namespace fleetroot::station
