#include "factory-ca/scrapped_devices.h"

#include <fmt/format.h>

#include <array>

#include "lib/base/error.h"

namespace fleetroot::ca {
namespace {

struct Row {
  std::string_view code;
  RevocationReason reason;
};

// Where somebody else may hold the key, the certificate's reason says so.
constexpr std::array kCauses{
    Row{"failed-test", RevocationReason::cessation_of_operation},
    Row{"damaged", RevocationReason::cessation_of_operation},
    Row{"end-of-life", RevocationReason::cessation_of_operation},
    Row{"lost", RevocationReason::key_compromise},
    Row{"stolen", RevocationReason::key_compromise},
    Row{"cloned", RevocationReason::key_compromise},
};

}  // namespace

ScrapCause ScrapCause::parse(std::string_view code) {
  std::string known;
  for (const Row& row : kCauses) {
    if (row.code == code) return {row.code, row.reason};
    known += known.empty() ? "" : ", ";
    known += row.code;
  }
  throw Error(ErrorCode::usage, fmt::format("\"{}\" is no cause for scrapping a device", code),
              "the causes are: " + known);
}

std::optional<ScrappedDevice> ScrappedDevices::find(const std::string& device_id) {
  ScrappedDevice device;
  bool found = database_.row("SELECT cause, scrapped_at FROM scrapped_devices WHERE device_id = :device_id",
                             soci::use(device_id), soci::into(device.cause), soci::into(device.scrapped_at));
  return found ? std::optional(device) : std::nullopt;
}

long long ScrappedDevices::count() {
  long long count = 0;
  database_.row("SELECT count(*) FROM scrapped_devices", soci::into(count));
  return count;
}

void ScrappedDevices::add(const std::string& device_id, const ScrapCause& cause, Time now) {
  std::string code = cause.code();
  std::string scrapped_at = format_time(now);
  with_store_errors([&] {
    database_.sql() << "INSERT INTO scrapped_devices (device_id, cause, scrapped_at) "
                       "VALUES (:device_id, :cause, :scrapped_at)",
        soci::use(device_id), soci::use(code), soci::use(scrapped_at);
  });
}

}  // namespace fleetroot::ca
