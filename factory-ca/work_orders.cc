#include "factory-ca/work_orders.h"

#include <fmt/format.h>

#include "lib/base/error.h"
#include "lib/x509/openssl.h"

namespace fleetroot::ca {
namespace {

constexpr std::string_view kColumns = "id, profile, pattern, quantity, used, state, created_at, closed_at";

struct Row {
  std::string id, profile, pattern, state, created_at, closed_at;
  long long quantity = 0, used = 0;

  WorkOrder order(Memo<DevicePattern>& patterns) const {
    auto read = [&] { return DevicePattern::recorded(pattern); };
    return {.id = OrderId::parse(id),
            .profile = ProfileName::parse(profile),
            .pattern = pattern.empty() ? std::nullopt : std::optional(patterns.get(pattern, read)),
            .quantity = quantity,
            .used = used,
            .is_open = state == "open",
            .created_at = created_at,
            .closed_at = closed_at};
  }
};

}  // namespace

void WorkOrders::create(const WorkOrder& order, const std::vector<DeviceRecord>& devices) {
  if (find(order.id)) {
    throw Error(ErrorCode::cannot_create, fmt::format("there is an order {} already", order.id.text()),
                "choose another ID, or look at it with order show");
  }
  std::string pattern = order.pattern ? order.pattern->text() : "";
  with_store_errors([&] {
    soci::session& sql = database_.sql();
    sql << "INSERT INTO orders (id, profile, pattern, quantity, used, state, created_at, closed_at) "
           "VALUES (:id, :profile, :pattern, :quantity, 0, 'open', :created_at, '')",
        soci::use(order.id.text()), soci::use(order.profile.text()), soci::use(pattern),
        soci::use(order.quantity), soci::use(order.created_at);
    std::string device_id;
    std::string columns;
    soci::statement insert = (sql.prepare << "INSERT INTO order_devices (order_id, device_id, columns) "
                                             "VALUES (:order_id, :device_id, :columns)",
                              soci::use(order.id.text()), soci::use(device_id), soci::use(columns));
    for (const DeviceRecord& device : devices) {
      device_id = device.id.text();
      columns = columns_to_json(device.columns);
      insert.execute(true);
    }
  });
}

std::optional<WorkOrder> WorkOrders::find(const OrderId& id) {
  static const std::string kText = fmt::format("SELECT {} FROM orders WHERE id = :id", kColumns);
  Row row;
  bool found = database_.row(kText, soci::use(id.text()), soci::into(row.id), soci::into(row.profile),
                             soci::into(row.pattern), soci::into(row.quantity), soci::into(row.used),
                             soci::into(row.state), soci::into(row.created_at), soci::into(row.closed_at));
  return found ? std::optional(row.order(patterns_)) : std::nullopt;
}

WorkOrder WorkOrders::get(const OrderId& id) {
  if (std::optional<WorkOrder> order = find(id)) return *std::move(order);
  throw Error(ErrorCode::order_unknown, fmt::format("there is no order {}", id.text()),
              "check the order's ID; fleetroot-ca order list shows the orders");
}

std::vector<WorkOrder> WorkOrders::list() {
  return with_store_errors([&] {
    std::vector<WorkOrder> orders;
    Row row;
    soci::statement rows =
        (database_.sql().prepare << fmt::format("SELECT {} FROM orders ORDER BY created_at, id", kColumns),
         soci::into(row.id), soci::into(row.profile), soci::into(row.pattern), soci::into(row.quantity),
         soci::into(row.used), soci::into(row.state), soci::into(row.created_at), soci::into(row.closed_at));
    rows.execute();
    while (rows.fetch()) orders.push_back(row.order(patterns_));
    return orders;
  });
}

void WorkOrders::close(const OrderId& id, Time now) {
  std::string closed_at = format_time(now);
  database_.change(
      "UPDATE orders SET state = 'closed', closed_at = :closed_at WHERE id = :id AND state = 'open'",
      soci::use(closed_at), soci::use(id.text()));
}

void WorkOrders::take_place(const OrderId& id) {
  database_.change("UPDATE orders SET used = used + 1 WHERE id = :id", soci::use(id.text()));
}

void WorkOrders::give_place_back(const OrderId& id) {
  database_.change("UPDATE orders SET used = used - 1 WHERE id = :id", soci::use(id.text()));
}

std::optional<DeviceRecord> WorkOrders::device(const WorkOrder& order, const DeviceId& id) {
  if (order.pattern) {
    if (!order.pattern->matches(id)) return std::nullopt;
    return DeviceRecord{.id = id, .columns = {}};
  }
  std::string columns;
  bool found =
      database_.row("SELECT columns FROM order_devices WHERE order_id = :order_id AND device_id = :id",
                    soci::use(order.id.text()), soci::use(id.text()), soci::into(columns));
  if (!found) return std::nullopt;
  return DeviceRecord{.id = id, .columns = columns_from_json(columns)};
}

std::string WorkOrders::list_digest(const OrderId& id) {
  std::string list;
  std::string line;
  database_.rows(
      "SELECT device_id || ' ' || columns FROM order_devices WHERE order_id = :order_id ORDER BY device_id",
      [&] { list += line + '\n'; }, soci::use(id.text()), soci::into(line));
  return sha256_hex(as_bytes(list));
}

std::vector<std::string> WorkOrders::missing(const OrderId& id) {
  std::vector<std::string> missing;
  std::string device_id;
  database_.rows(
      "SELECT device_id FROM order_devices AS listed WHERE order_id = :order_id AND "
      "NOT EXISTS (SELECT 1 FROM certificates AS live WHERE live.kind = 'device' AND "
      "live.subject = listed.device_id AND live.state = 'issued') AND "
      "NOT EXISTS (SELECT 1 FROM scrapped_devices AS scrapped WHERE "
      "scrapped.device_id = listed.device_id) ORDER BY device_id",
      [&] { missing.push_back(device_id); }, soci::use(id.text()), soci::into(device_id));
  return missing;
}

}  // namespace fleetroot::ca
