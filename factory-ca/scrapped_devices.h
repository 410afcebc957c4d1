// Devices that were scrapped: their IDs never get a certificate again. There is no way back.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lib/base/clock.h"
#include "lib/store/database.h"
#include "lib/x509/device_id.h"
#include "lib/x509/revocation_reason.h"

namespace fleetroot::ca {

// Why: one of a short list (docs/operations.md), each with the reason that its certificate is revoked for.
class ScrapCause {
 public:
  // Error(usage) names the ones that there are.
  static ScrapCause parse(std::string_view code);
  std::string code() const { return std::string(code_); }
  RevocationReason reason() const { return reason_; }

 private:
  ScrapCause(std::string_view code, RevocationReason reason) : code_(code), reason_(reason) {}
  std::string_view code_;
  RevocationReason reason_;
};

struct ScrappedDevice {
  std::string cause;
  std::string scrapped_at;
};

// Calls that change something belong into a WriteTransaction.
class ScrappedDevices {
 public:
  explicit ScrappedDevices(Database& database) : database_(database) {}

  std::optional<ScrappedDevice> find(const std::string& device_id);
  long long count();
  void add(const std::string& device_id, const ScrapCause& cause, Time now);

 private:
  Database& database_;
};

}  // namespace fleetroot::ca
