// What was authorised once, refused for ever, or answered before.
#include <fmt/format.h>

#include "factory-ca/log_check.h"

namespace fleetroot::ca {
namespace {

class ReworkCheck final : public LogCheck {
 public:
  explicit ReworkCheck(Ledger& ledger) : reworks_(ledger.reworks) {}

  void take(const LoggedEvent& event) override {
    const nlohmann::json& details = event.details;
    if (event.event == "rework.authorised") {
      logged_[details.at("rework")].authorised = event;
      newest_[details.at("device_id")] = details.at("rework");
    } else if (event.event == "rework.withdrawn") {
      begun_before<long long>(logged_, details.at("rework"), event).state = ReworkState::withdrawn;
    } else if (event.event == "device.certified") {
      take_use(event);
    }
  }
  void finish() override {
    std::size_t rows = 0;
    reworks_.each([&](const Rework& rework) {
      ++rows;
      compare(rework);
    });
    if (rows == logged_.size()) return;
    throw broken(fmt::format("the ledger holds {} reworks, and its log {}", rows, logged_.size()));
  }

 private:
  struct LoggedRework {
    LoggedEvent authorised;
    ReworkState state = ReworkState::authorised;
    std::string serial;
  };

  // An older entry does not name the rework: there it is the one that lets a certificate follow another.
  void take_use(const LoggedEvent& event) {
    const nlohmann::json& details = event.details;
    long long id = 0;
    if (details.contains("rework")) {
      id = details.at("rework");
    } else if (auto found = newest_.find(details.at("device_id"));
               found != newest_.end() && details.value("supersedes", "") != "") {
      id = found->second;
    }
    if (id == 0) return;
    LoggedRework& rework = begun_before(logged_, id, event);
    rework.state = ReworkState::used;
    rework.serial = details.at("serial");
  }
  void compare(const Rework& rework) {
    auto found = logged_.find(rework.id);
    if (found == logged_.end()) {
      throw broken(
          fmt::format("the log knows nothing of the rework {} of device {}", rework.id, rework.device_id));
    }
    const LoggedRework& logged = found->second;
    std::string name = fmt::format("the rework {}", rework.id);
    logged.authorised.refuse_unless_said(name, "device_id", rework.device_id);
    logged.authorised.refuse_unless_said(name, "reason", rework.reason);
    // Whose older entry does not say so.
    bool is_used_all_the_same = logged.state == ReworkState::authorised && rework.state == ReworkState::used;
    if (is_used_all_the_same) return;
    if (rework.state == logged.state && rework.serial == logged.serial) return;
    throw broken(fmt::format("{} of device {} is {}, and the log says {}", name, rework.device_id,
                             name_of(rework.state), name_of(logged.state)));
  }

  Reworks& reworks_;
  std::map<long long, LoggedRework> logged_;
  std::map<std::string, long long> newest_;  // by device
};

class ScrapCheck final : public LogCheck {
 public:
  explicit ScrapCheck(Ledger& ledger) : scrapped_(ledger.scrapped) {}

  void take(const LoggedEvent& event) override {
    if (event.event != "device.scrapped") return;
    ++logged_;
    std::string device = event.details.at("device_id");
    std::optional<ScrappedDevice> found = scrapped_.find(device);
    if (!found) {
      throw broken(
          fmt::format("device {} was scrapped by entry {} of the log, and is no more", device, event.entry));
    }
    event.refuse_unless_said("the scrapped device " + device, "cause", found->cause);
  }
  void finish() override {
    long long rows = scrapped_.count();
    if (rows == logged_) return;
    throw broken(fmt::format("the ledger holds {} scrapped devices, and its log {}", rows, logged_));
  }

 private:
  ScrappedDevices& scrapped_;
  long long logged_ = 0;
};

class BundleCheck final : public LogCheck {
 public:
  explicit BundleCheck(Ledger& ledger) : bundles_(ledger.bundles) {}

  void take(const LoggedEvent& event) override {
    if (event.event != "bundle.answered") return;
    ++logged_;
    std::string digest = event.details.at("bundle");
    std::optional<BundleRecord> record = bundles_.with_digest(digest);
    if (!record) {
      throw broken(
          fmt::format("entry {} of the log is about the bundle {}, which is gone", event.entry, digest));
    }
    std::string name = "the bundle " + digest;
    event.refuse_unless_said(name, "station", record->station);
    event.refuse_unless_said(name, "sequence", record->sequence);
    event.refuse_unless_said(name, "reply", record->reply_digest);
    event.refuse_unless_said_or_silent(name, "order", record->order);
  }
  void finish() override {
    long long rows = bundles_.count();
    if (rows == logged_) return;
    throw broken(fmt::format("the ledger holds {} answered bundles, and its log {}", rows, logged_));
  }

 private:
  BundleLedger& bundles_;
  long long logged_ = 0;
};

}  // namespace

std::unique_ptr<LogCheck> check_reworks(Ledger& ledger) {
  return std::make_unique<ReworkCheck>(ledger);
}

std::unique_ptr<LogCheck> check_scrapped_devices(Ledger& ledger) {
  return std::make_unique<ScrapCheck>(ledger);
}

std::unique_ptr<LogCheck> check_bundles(Ledger& ledger) {
  return std::make_unique<BundleCheck>(ledger);
}

}  // namespace fleetroot::ca
