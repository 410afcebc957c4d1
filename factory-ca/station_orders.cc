#include "factory-ca/station_orders.h"

#include <algorithm>

namespace fleetroot::ca {

bool StationOrders::allows(const std::string& station, const OrderId& order) {
  std::vector<std::string> orders = of(station);
  return orders.empty() || std::find(orders.begin(), orders.end(), order.text()) != orders.end();
}

std::vector<std::string> StationOrders::stations() {
  std::vector<std::string> stations;
  std::string station;
  database_.rows(
      "SELECT DISTINCT station FROM station_orders ORDER BY station", [&] { stations.push_back(station); },
      soci::into(station));
  return stations;
}

std::vector<std::string> StationOrders::of(const std::string& station) {
  std::vector<std::string> orders;
  std::string order;
  database_.rows(
      "SELECT order_id FROM station_orders WHERE station = :station ORDER BY order_id",
      [&] { orders.push_back(order); }, soci::use(station), soci::into(order));
  return orders;
}

void StationOrders::bind(const std::string& station, const std::vector<OrderId>& orders) {
  with_store_errors([&] {
    database_.sql() << "DELETE FROM station_orders WHERE station = :station", soci::use(station);
    for (const OrderId& order : orders) {
      database_.sql() << "INSERT INTO station_orders (station, order_id) VALUES (:station, :order)",
          soci::use(station), soci::use(order.text());
    }
  });
}

}  // namespace fleetroot::ca
