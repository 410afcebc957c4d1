// Authorised reworks: each lets one device have one certificate for a new key, once. One at a time is open
// for a device.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "lib/base/clock.h"
#include "lib/store/database.h"
#include "lib/x509/device_id.h"

namespace fleetroot::ca {

enum class ReworkState { authorised, used, withdrawn };
std::string_view name_of(ReworkState state);

struct Rework {
  long long id = 0;
  std::string device_id;
  std::string reason;
  ReworkState state = ReworkState::authorised;
  std::string serial{};  // of the certificate that used it up
  std::string authorised_at{};
  std::string ended_at{};
};

// Calls that change something belong into a WriteTransaction.
class Reworks {
 public:
  explicit Reworks(Database& database) : database_(database) {}

  std::optional<Rework> open(const std::string& device_id);
  void authorise(const std::string& device_id, const std::string& reason, Time now);
  // False if it is no longer open.
  bool use(long long id, const std::string& serial, Time now);
  // Ends the open one, if there is one.
  void withdraw(const std::string& device_id, Time now);
  // Oldest first.
  void each(const std::function<void(const Rework&)>& look);

 private:
  Database& database_;
};

}  // namespace fleetroot::ca
