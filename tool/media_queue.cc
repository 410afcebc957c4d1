#include "tool/media_queue.h"

#include <fmt/format.h>

#include "lib/base/files.h"
#include "lib/x509/openssl.h"

namespace fleetroot::station {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMedia = "media:";

void make_directories(const fs::path& path) {
  std::error_code ignored;
  if (path.empty() || fs::is_directory(path, ignored)) return;
  make_directories(path.parent_path());
  make_directory(path);
}

}  // namespace

std::optional<fs::path> media_queue_of(const std::string& url) {
  if (!url.starts_with(kMedia)) return std::nullopt;
  if (url.size() == kMedia.size()) {
    throw Error(ErrorCode::usage, "\"media:\" names no directory", "write it like media:queue");
  }
  return fs::path(url.substr(kMedia.size()));
}

std::optional<Bytes> MediaQueue::ask(const DeviceId& device_id, const OrderId& order,
                                     const std::string& public_key, const std::function<Bytes()>& message,
                                     Time now) {
  std::optional<QueuedRequest> known = find(device_id, order, public_key);
  if (!known) put(device_id, order, public_key, message(), now);
  if (known && known->refusal) {
    journal_.forget(device_id);
    throw Error(*known->refusal);
  }
  if (!known || !known->is_answered()) return std::nullopt;
  return std::move(known->certificate);
}

void MediaQueue::leave_receipt(const DeviceId& device_id, const OrderId& order, const SerialNumber& serial,
                               bool accepted) {
  journal_.add_receipt(
      {.order = order, .receipt = {.device_id = device_id, .serial = serial, .accepted = accepted}});
}

std::optional<QueuedRequest> MediaQueue::find(const DeviceId& device_id, const OrderId& order,
                                              const std::string& public_key) const {
  std::optional<QueuedRequest> request = journal_.request(device_id);
  if (!request || request->public_key != public_key) return std::nullopt;
  if (request->order != order) {
    refuse_if_sent(*request);
    return std::nullopt;
  }
  // The journal says so before the file is there.
  bool is_somewhere = request->is_answered() || request->bundle > 0 || message(*request);
  return is_somewhere ? request : std::nullopt;
}

// A request for another order would take its place, and its answer, a certificate perhaps, would be lost.
void MediaQueue::refuse_if_sent(const QueuedRequest& request) const {
  if (request.bundle == 0 || request.refusal) return;
  throw Error(ErrorCode::usage,
              fmt::format("the request of device {} went to the CA for order {}", request.device_id.text(),
                          request.order.text()),
              "run the same command for that order");
}

void MediaQueue::put(const DeviceId& device_id, const OrderId& order, const std::string& public_key,
                     BytesView message, Time now) {
  fs::path path = file(device_id, order);
  make_directories(path.parent_path());
  // Nobody waits for what it asked before, for another order perhaps.
  if (std::optional<QueuedRequest> earlier = journal_.request(device_id))
    remove(device_id, earlier->order, earlier->digest);
  journal_.queue({.device_id = device_id,
                  .order = order,
                  .digest = sha256_hex(message),
                  .public_key = public_key,
                  .bundle = 0,
                  .certificate = {},
                  .refusal = {}},
                 now);
  write_file(path, as_text(message));
}

void MediaQueue::refuse_unless_there() const {
  std::error_code ignored;
  if (fs::is_directory(directory_, ignored)) return;
  std::size_t waiting = journal_.requests_to_send().size();
  if (waiting == 0) return;
  throw Error(ErrorCode::usage,
              fmt::format("there is no queue {}, and {} requests wait in one", directory_.string(), waiting),
              "name the directory DIR of --ca media:DIR; if it is lost, provision the devices again");
}

std::optional<Bytes> MediaQueue::message(const QueuedRequest& request) const {
  return message(request.device_id, request.order, request.digest);
}

std::optional<Bytes> MediaQueue::message(const DeviceId& device_id, const OrderId& order,
                                         const std::string& digest) const {
  std::optional<std::string> message = read_file_if_present(file(device_id, order));
  if (!message || sha256_hex(as_bytes(*message)) != digest) return std::nullopt;
  return Bytes(message->begin(), message->end());
}

void MediaQueue::remove(const DeviceId& device_id, const OrderId& order, const std::string& digest) const {
  if (!message(device_id, order, digest)) return;
  // What stays is harmless: the journal knows that it is answered.
  std::error_code ignored;
  fs::remove(file(device_id, order), ignored);
}

void MediaQueue::remove_answered() const {
  for (const QueuedRequest& request : journal_.answered_requests())
    remove(request.device_id, request.order, request.digest);
}

fs::path MediaQueue::file(const DeviceId& device_id, const OrderId& order) const {
  return directory_ / order.text() / (device_id.text() + ".p10cr");
}

}  // namespace fleetroot::station
