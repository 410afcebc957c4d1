// Work orders: which devices may get a certificate, and how many.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "factory-ca/device_pattern.h"
#include "factory-ca/device_record.h"
#include "lib/base/clock.h"
#include "lib/base/memo.h"
#include "lib/base/names.h"
#include "lib/store/database.h"

namespace fleetroot::ca {

struct WorkOrder {
  OrderId id;
  ProfileName profile;
  // Set for an order without a list.
  std::optional<DevicePattern> pattern;
  long long quantity = 0;
  // Places taken, exactly: a reservation takes one, and so does the certificate that comes of it, once.
  long long used = 0;
  bool is_open = true;
  std::string created_at;
  std::string closed_at;
};

// Calls that change something belong into a WriteTransaction.
class WorkOrders {
 public:
  explicit WorkOrders(Database& database) : database_(database) {}

  // `devices` is empty for an order with a pattern. Error(cannot_create) if there is such an order already.
  void create(const WorkOrder& order, const std::vector<DeviceRecord>& devices);
  std::optional<WorkOrder> find(const OrderId& id);
  // Error(order_unknown)
  WorkOrder get(const OrderId& id);
  std::vector<WorkOrder> list();
  void close(const OrderId& id, Time now);
  void take_place(const OrderId& id);
  void give_place_back(const OrderId& id);

  // The device as the order admits it: from its list, or by its pattern; nothing if it does not.
  std::optional<DeviceRecord> device(const WorkOrder& order, const DeviceId& id);
  // SHA-256 of the order's list in its normal form (docs/formats.md, "Audit log").
  std::string list_digest(const OrderId& id);
  // The devices of the order's list that have no certificate, and may get one; none for an order with a
  // pattern.
  std::vector<std::string> missing(const OrderId& id);

 private:
  Database& database_;
  Memo<DevicePattern> patterns_;
};

}  // namespace fleetroot::ca
