#include "factory-ca/ledger_check.h"

#include <fmt/format.h>

#include "factory-ca/log_check.h"

namespace fleetroot::ca {
namespace {

// Every kind of entry has a check that hears it.
class LogChecks {
 public:
  explicit LogChecks(Ledger& ledger) {
    for (auto* check : {check_certificates, check_orders, check_station_orders, check_reworks,
                        check_scrapped_devices, check_revocation_lists, check_bundles}) {
      checks_.push_back(check(ledger));
    }
  }
  void take(const LogEntry& entry) {
    try {
      LoggedEvent event{.entry = entry.sequence, .event = {}, .details = nlohmann::json::parse(entry.entry)};
      event.event = event.details.at("event");
      for (const std::unique_ptr<LogCheck>& check : checks_) check->take(event);
    } catch (const nlohmann::json::exception&) {
      throw broken(fmt::format("entry {} of the log is not one that this CA writes", entry.sequence));
    }
  }
  void finish() {
    for (const std::unique_ptr<LogCheck>& check : checks_) check->finish();
  }

 private:
  std::vector<std::unique_ptr<LogCheck>> checks_;
};

}  // namespace

Checkpoint check_ledger(Ledger& ledger, const std::optional<std::string>& checkpoint,
                        const std::function<void(std::size_t done, std::size_t all)>& progress) {
  ReadTransaction one_moment = ledger.read();
  ledger.refuse_if_damaged();
  auto all = static_cast<std::size_t>(ledger.log.checkpoint().sequence);
  LogChecks checks(ledger);
  bool is_held = !checkpoint;
  Checkpoint last = ledger.log.verify([&](const LogEntry& entry) {
    checks.take(entry);
    is_held = is_held || entry.digest == *checkpoint;
    if (progress) progress(static_cast<std::size_t>(entry.sequence), all);
  });
  if (!is_held) {
    throw broken(
        fmt::format("the log does not hold the checkpoint {}: its past is another one", *checkpoint));
  }
  checks.finish();
  return last;
}

}  // namespace fleetroot::ca
