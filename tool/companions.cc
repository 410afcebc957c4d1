#include "tool/companions.h"

#include "tool/media_queue.h"

namespace fleetroot::station {

Companions::Companions(const Settings& settings, const std::string& ca) {
  try {
    station_key_ = std::make_unique<KeyProcess>(settings);
    if (!media_queue_of(ca)) transport_ = open_transport(ca, settings.ca_timeout_seconds);
  } catch (const Error&) {
    obstacle_ = std::current_exception();
  }
}

void Companions::refuse_unless_started() const {
  if (obstacle_) std::rethrow_exception(obstacle_);
}

void Companions::finish() {
  if (station_key_) station_key_->finish();
  if (transport_) transport_->finish();
}

}  // namespace fleetroot::station
