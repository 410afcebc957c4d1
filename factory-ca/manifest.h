// A delivery note: every certificate of one order, with what superseded what, as a fleet back end imports it
// (docs/formats.md, "Manifest").
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "factory-ca/ledger.h"
#include "lib/x509/certificate.h"

namespace fleetroot::ca {

// What there is to say about an order, as of one moment. Error(order_unknown).
nlohmann::ordered_json manifest_of(Ledger& ledger, const OrderId& order, const Certificate& issuing,
                                   const Clock& clock);

// Its devices as CSV (RFC 4180), with a header.
std::string manifest_csv(const nlohmann::ordered_json& manifest);

}  // namespace fleetroot::ca
