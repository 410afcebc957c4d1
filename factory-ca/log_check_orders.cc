// Orders: their places, their lists, and the stations that are bound to them.
#include <fmt/format.h>

#include <algorithm>

#include "factory-ca/log_check.h"

namespace fleetroot::ca {
namespace {

class OrderCheck final : public LogCheck {
 public:
  explicit OrderCheck(Ledger& ledger) : ledger_(ledger) {}

  void take(const LoggedEvent& event) override {
    if (event.event == "order.created") {
      logged_[event.details.at("order")].created = event;
    } else if (event.event == "order.closed") {
      begun_before<std::string>(logged_, event.details.at("order"), event).is_closed = true;
    }
  }
  void finish() override {
    std::map<std::string, long long> places = ledger_.certificates.places_taken();
    for (const WorkOrder& order : ledger_.orders.list()) {
      auto logged = logged_.find(order.id.text());
      if (logged == logged_.end())
        throw broken(fmt::format("the log knows nothing of the order {}", order.id.text()));
      compare(order, logged->second, places[order.id.text()]);
      logged_.erase(logged);
    }
    if (logged_.empty()) return;
    throw broken(fmt::format("the log is about the order {}, which is gone", logged_.begin()->first));
  }

 private:
  struct LoggedOrder {
    LoggedEvent created;
    bool is_closed = false;
  };

  void compare(const WorkOrder& order, const LoggedOrder& logged, long long places) {
    std::string name = "the order " + order.id.text();
    logged.created.refuse_unless_said(name, "profile", order.profile.text());
    logged.created.refuse_unless_said(name, "quantity", order.quantity);
    logged.created.refuse_unless_said(name, "pattern", order.pattern ? order.pattern->text() : "");
    if (logged.created.details.contains("devices"))
      logged.created.refuse_unless_said(name, "devices", ledger_.orders.list_digest(order.id));
    if (order.is_open == logged.is_closed) {
      throw broken(
          fmt::format("{} is {}, and the log says that it is not", name, order.is_open ? "open" : "closed"));
    }
    if (order.used != places) {
      throw broken(fmt::format("{} has {} places taken, and {} devices have one", name, order.used, places));
    }
  }

  Ledger& ledger_;
  std::map<std::string, LoggedOrder> logged_;
};

class StationOrdersCheck final : public LogCheck {
 public:
  explicit StationOrdersCheck(Ledger& ledger) : bindings_(ledger.station_orders) {}

  void take(const LoggedEvent& event) override {
    if (event.event == "station.bound") logged_[event.details.at("subject")] = event.details.at("orders");
  }
  void finish() override {
    for (const std::string& station : bindings_.stations()) logged_.try_emplace(station);
    for (auto& [station, orders] : logged_) {
      std::sort(orders.begin(), orders.end());
      if (bindings_.of(station) != orders)
        throw broken(fmt::format("station {} is bound to other orders than the log says", station));
    }
  }

 private:
  StationOrders& bindings_;
  std::map<std::string, std::vector<std::string>> logged_;
};

}  // namespace

std::unique_ptr<LogCheck> check_orders(Ledger& ledger) {
  return std::make_unique<OrderCheck>(ledger);
}

std::unique_ptr<LogCheck> check_station_orders(Ledger& ledger) {
  return std::make_unique<StationOrdersCheck>(ledger);
}

}  // namespace fleetroot::ca
