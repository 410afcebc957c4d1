#include "tool/journal_media.h"

#include <nlohmann/json.hpp>

namespace fleetroot::station {
namespace {

constexpr const char* kRequestColumns =
    "SELECT device_id, order_id, digest, public_key, bundle, certificate, refusal FROM media_requests ";

struct RequestRow {
  std::string device_id, order, digest, public_key, certificate, refusal;
  long long bundle = 0;

  QueuedRequest take() const {
    return {.device_id = DeviceId::parse(device_id),
            .order = OrderId::parse(order),
            .digest = digest,
            .public_key = public_key,
            .bundle = bundle,
            .certificate = from_hex(certificate).value_or(Bytes{}),
            .refusal = read_refusal()};
  }

 private:
  std::optional<Error> read_refusal() const {
    if (refusal.empty()) return std::nullopt;
    nlohmann::json json = nlohmann::json::parse(refusal);
    return Error(error_code_from_name(json.at(0).get<std::string>()), json.at(1), json.at(2));
  }
};

std::string to_json(const Error& refusal) {
  return nlohmann::json{name_of(refusal.code()), refusal.message(), refusal.hint()}.dump(
      -1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::optional<QueuedRequest> MediaJournal::request(const DeviceId& device_id) {
  return with_store_errors([&]() -> std::optional<QueuedRequest> {
    RequestRow row;
    database_.sql() << kRequestColumns << "WHERE device_id = :device", soci::use(device_id.text()),
        soci::into(row.device_id), soci::into(row.order), soci::into(row.digest), soci::into(row.public_key),
        soci::into(row.bundle), soci::into(row.certificate), soci::into(row.refusal);
    if (!database_.sql().got_data()) return std::nullopt;
    return row.take();
  });
}

void MediaJournal::queue(const QueuedRequest& request, Time now) {
  std::string queued_at = format_time(now);
  with_store_errors([&] {
    database_.sql() << "INSERT OR REPLACE INTO media_requests (device_id, order_id, digest, public_key, "
                       "queued_at) VALUES (:device, :order, :digest, :key, :at)",
        soci::use(request.device_id.text()), soci::use(request.order.text()), soci::use(request.digest),
        soci::use(request.public_key), soci::use(queued_at);
  });
}

void MediaJournal::forget(const DeviceId& device_id) {
  with_store_errors([&] {
    database_.sql() << "DELETE FROM media_requests WHERE device_id = :device", soci::use(device_id.text());
  });
}

void MediaJournal::answer_otherwise(const DeviceId& device_id, const Bytes& certificate) {
  std::string answer = to_hex(certificate);
  with_store_errors([&] {
    database_.sql() << "UPDATE media_requests SET certificate = :certificate, refusal = '' "
                       "WHERE device_id = :device",
        soci::use(answer), soci::use(device_id.text());
  });
}

std::vector<QueuedRequest> MediaJournal::requests_to_send() {
  return requests_where("bundle = 0 AND certificate = '' AND refusal = ''");
}

std::vector<QueuedRequest> MediaJournal::answered_requests() {
  return requests_where("certificate <> '' OR refusal <> ''");
}

std::vector<QueuedRequest> MediaJournal::requests_where(const std::string& condition) {
  return with_store_errors([&] {
    std::vector<QueuedRequest> requests;
    RequestRow row;
    soci::statement rows =
        (database_.sql().prepare << kRequestColumns << "WHERE " << condition
                                 << " ORDER BY order_id, device_id",
         soci::into(row.device_id), soci::into(row.order), soci::into(row.digest), soci::into(row.public_key),
         soci::into(row.bundle), soci::into(row.certificate), soci::into(row.refusal));
    rows.execute();
    while (rows.fetch()) requests.push_back(row.take());
    return requests;
  });
}

void MediaJournal::add_receipt(const QueuedReceipt& receipt) {
  std::string serial = receipt.receipt.serial.hex();
  int accepted = receipt.receipt.accepted ? 1 : 0;
  with_store_errors([&] {
    database_.sql() << "INSERT OR REPLACE INTO media_receipts (serial, device_id, order_id, accepted) "
                       "VALUES (:serial, :device, :order, :accepted)",
        soci::use(serial), soci::use(receipt.receipt.device_id.text()), soci::use(receipt.order.text()),
        soci::use(accepted);
  });
}

std::vector<QueuedReceipt> MediaJournal::receipts_to_send() {
  return with_store_errors([&] {
    std::vector<QueuedReceipt> receipts;
    std::string serial;
    std::string device_id;
    std::string order;
    int accepted = 0;
    soci::statement rows =
        (database_.sql().prepare << "SELECT serial, device_id, order_id, accepted FROM media_receipts "
                                    "WHERE bundle = 0 ORDER BY order_id, device_id",
         soci::into(serial), soci::into(device_id), soci::into(order), soci::into(accepted));
    rows.execute();
    while (rows.fetch()) {
      receipts.push_back({.order = OrderId::parse(order),
                          .receipt = {.device_id = DeviceId::parse(device_id),
                                      .serial = SerialNumber::from_hex(serial),
                                      .accepted = accepted != 0}});
    }
    return receipts;
  });
}

std::optional<SentBundle> MediaJournal::last_bundle() {
  return with_store_errors([&]() -> std::optional<SentBundle> {
    long long sequence = 0;
    std::string digest;
    std::string order;
    database_.sql() << "SELECT sequence, digest, order_id FROM media_bundles ORDER BY sequence DESC LIMIT 1",
        soci::into(sequence), soci::into(digest), soci::into(order);
    if (!database_.sql().got_data()) return std::nullopt;
    return SentBundle{.sequence = sequence, .digest = digest, .order = OrderId::parse(order)};
  });
}

std::vector<SentBundle> MediaJournal::open_bundles() {
  return with_store_errors([&] {
    std::vector<SentBundle> bundles;
    long long sequence = 0;
    std::string digest;
    std::string order;
    soci::statement rows = (database_.sql().prepare << "SELECT sequence, digest, order_id FROM media_bundles "
                                                       "WHERE answered_at = '' ORDER BY sequence",
                            soci::into(sequence), soci::into(digest), soci::into(order));
    rows.execute();
    while (rows.fetch())
      bundles.push_back({.sequence = sequence, .digest = digest, .order = OrderId::parse(order)});
    return bundles;
  });
}

void MediaJournal::send(const SentBundle& bundle, const media::RequestBundle& content, Time now) {
  std::string sent_at = format_time(now);
  WriteTransaction transaction(database_);
  with_store_errors([&] {
    soci::session& sql = database_.sql();
    sql << "INSERT INTO media_bundles (sequence, digest, order_id, sent_at) "
           "VALUES (:sequence, :digest, :order, :at)",
        soci::use(bundle.sequence), soci::use(bundle.digest), soci::use(bundle.order.text()),
        soci::use(sent_at);
    std::string key;
    std::string digest;
    soci::statement carry =
        (sql.prepare << "UPDATE media_requests SET bundle = :bundle WHERE device_id = :device AND "
                        "digest = :digest",
         soci::use(bundle.sequence), soci::use(key), soci::use(digest));
    for (const media::CarriedRequest& request : content.requests) {
      key = request.device_id.text();
      digest = sha256_hex(request.message);
      carry.execute(true);
    }
    int accepted = 0;
    soci::statement carry_receipt =
        (sql.prepare << "UPDATE media_receipts SET bundle = :bundle WHERE serial = :serial AND "
                        "accepted = :accepted",
         soci::use(bundle.sequence), soci::use(key), soci::use(accepted));
    for (const media::Receipt& receipt : content.receipts) {
      key = receipt.serial.hex();
      accepted = receipt.accepted ? 1 : 0;
      carry_receipt.execute(true);
    }
  });
  transaction.commit();
}

void MediaJournal::take(const media::ResponseBundle& response, Time now) {
  std::string answered_at = format_time(now);
  WriteTransaction transaction(database_);
  with_store_errors([&] {
    soci::session& sql = database_.sql();
    std::string device_id;
    std::string digest;
    std::string certificate;
    std::string refusal;
    soci::statement answer =
        (sql.prepare << "UPDATE media_requests SET certificate = :certificate, refusal = :refusal "
                        "WHERE device_id = :device AND digest = :digest",
         soci::use(certificate), soci::use(refusal), soci::use(device_id), soci::use(digest));
    for (const media::Answer& item : response.answers) {
      device_id = item.device_id.text();
      digest = item.request;
      certificate = item.certificate ? to_hex(*item.certificate) : "";
      refusal = item.refusal ? to_json(*item.refusal) : "";
      answer.execute(true);
    }
    sql << "UPDATE media_requests SET bundle = 0 WHERE bundle = :bundle AND certificate = '' AND "
           "refusal = ''",
        soci::use(response.sequence);
    sql << "DELETE FROM media_receipts WHERE bundle = :bundle", soci::use(response.sequence);
    sql << "UPDATE media_bundles SET answered_at = :at WHERE sequence = :sequence", soci::use(answered_at),
        soci::use(response.sequence);
  });
  transaction.commit();
}

}  // namespace fleetroot::station
