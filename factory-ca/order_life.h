// A work order's beginning and end. Each call is one transaction with its log entry.
#pragma once

#include <string>
#include <vector>

#include "factory-ca/later_life.h"
#include "factory-ca/ledger.h"

namespace fleetroot::ca {

// Error(cannot_create) if there is such an order already.
void open_order(Ledger& ledger, const WorkOrder& order, const std::vector<DeviceRecord>& devices,
                const std::string& profile_digest, const Clock& clock);
// The order as it was before: said twice, it changes nothing the second time. Error(order_unknown)
WorkOrder close_order(Ledger& ledger, const OrderId& id, const Clock& clock, Commitment commitment);

}  // namespace fleetroot::ca
