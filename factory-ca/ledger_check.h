// Whether a ledger is still the one that it was: its file, its log, and what the log and the tables say of
// each other (log_check.h).
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "factory-ca/ledger.h"

namespace fleetroot::ca {

// Where the log stands. `checkpoint`: a digest that somebody noted, which the log must still hold. `progress`
// hears how many entries of how many are read. The ledger may be in use meanwhile. Error(io) says what is
// wrong first.
Checkpoint check_ledger(Ledger& ledger, const std::optional<std::string>& checkpoint = {},
                        const std::function<void(std::size_t done, std::size_t all)>& progress = {});

}  // namespace fleetroot::ca
