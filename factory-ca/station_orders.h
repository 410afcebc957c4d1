// Which orders a station may work on. One that is bound to none may work on all.
#pragma once

#include <string>
#include <vector>

#include "lib/base/names.h"
#include "lib/store/database.h"

namespace fleetroot::ca {

// Calls that change something belong into a WriteTransaction.
class StationOrders {
 public:
  explicit StationOrders(Database& database) : database_(database) {}

  bool allows(const std::string& station, const OrderId& order);
  // Those that are bound to some.
  std::vector<std::string> stations();
  std::vector<std::string> of(const std::string& station);
  // These from now on, and no others; none means all.
  void bind(const std::string& station, const std::vector<OrderId>& orders);

 private:
  Database& database_;
};

}  // namespace fleetroot::ca
