#include "tool/companions.h"

#include "tool/http_transport.h"
#include "tool/media_queue.h"

namespace fleetroot::station {

Companions::Companions(const Home& home, const Settings& settings, const std::string& ca,
                       const std::optional<OrderId>& order) {
  try {
    station_key_ = std::make_unique<KeyProcess>(settings);
    if (media_queue_of(ca)) return;
    transport_ = open_transport(ca, settings.ca_timeout_seconds, [this, &home, order] {
      http::TlsIdentity identity{.chain = {home.station_certificate()}, .key = station_key_->evp()};
      return Caller{.order = order,
                    .tls = {.roots = home.fleet_roots(),
                            .intermediates = home.issuing_certificates(),
                            .identity = std::move(identity)}};
    });
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
