#include "factory-ca/order_life.h"

namespace fleetroot::ca {

void open_order(Ledger& ledger, const WorkOrder& order, const std::vector<DeviceRecord>& devices,
                const std::string& profile_digest, const Clock& clock) {
  WriteTransaction transaction = ledger.write();
  ledger.orders.create(order, devices);
  ledger.log.append("order.created", clock.now(),
                    {{"order", order.id.text()},
                     {"profile", order.profile.text()},
                     {"profile_digest", profile_digest},
                     {"quantity", order.quantity},
                     {"pattern", order.pattern ? order.pattern->text() : ""},
                     {"devices", ledger.orders.list_digest(order.id)}});
  transaction.commit();
}

WorkOrder close_order(Ledger& ledger, const OrderId& id, const Clock& clock, Commitment commitment) {
  WriteTransaction transaction = ledger.write();
  WorkOrder order = ledger.orders.get(id);
  if (!order.is_open || commitment == Commitment::dry_run) return order;
  Time now = clock.now();
  ledger.orders.close(id, now);
  ledger.log.append("order.closed", now, {{"order", id.text()}, {"used", order.used}});
  transaction.commit();
  return order;
}

}  // namespace fleetroot::ca
