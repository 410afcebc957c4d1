#include "tool/companions.h"

#include "tool/media_queue.h"

namespace fleetroot::station {

Companions::Companions(const Home& home, const Settings& settings, const std::string& ca,
                       const std::optional<OrderId>& order)
    : home_(home),
      settings_(settings),
      url_(ca),
      order_(order),
      goes_by_media_(media_queue_of(ca).has_value()) {
  try {
    certificate_ = home.station_certificate();
    station_key_ = std::make_unique<KeyProcess>(settings);
    open_way();
  } catch (const Error&) {
    obstacle_ = std::current_exception();
  }
}

void Companions::open_way() {
  if (!goes_by_media_) ca_ = open_ca(url_, settings_.ca_timeout_seconds, [this] { return caller(); });
}

void Companions::begin_anew() {
  ca_.reset();
  try {
    certificate_ = home_.station_certificate();
    open_way();
  } catch (const Error&) {
    obstacle_ = std::current_exception();
  }
}

void Companions::refuse_unless_started() const {
  if (obstacle_) std::rethrow_exception(obstacle_);
}

Caller Companions::caller() {
  station_key_->wait_until_ready(*certificate_);
  return {.station = {.certificate = *certificate_, .chain = {}, .key = station_key_->evp()},
          .issuing = home_.issuing_certificates(),
          .fleet_roots = home_.fleet_roots(),
          .order = order_};
}

void Companions::finish() {
  if (station_key_) station_key_->finish();
  if (ca_) ca_->finish();
}

}  // namespace fleetroot::station
