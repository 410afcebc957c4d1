#include "tool/ca_client.h"

#include "tool/est_client.h"
#include "tool/home.h"
#include "tool/media_queue.h"
#include "tool/transport.h"

namespace fleetroot::station {
namespace {

class CmpClient : public CaClient {
 public:
  CmpClient(std::unique_ptr<Transport> transport, std::function<Caller()> caller)
      : transport_(std::move(transport)), caller_(std::move(caller)) {}

  cmp::Enrolled enroll(const CertificateRequest& request, const cmp::Accept& accept) override {
    return client().enroll(request, accept);
  }
  cmp::Enrolled renew(const cmp::Accept& accept) override { return client().renew(accept); }
  void finish() override { transport_->finish(); }

 private:
  cmp::Client client() {
    if (!who_) who_ = caller_();
    return {who_->station, who_->issuing.front(),
            [this](BytesView message) { return transport_->exchange(message, *who_); }};
  }

  std::unique_ptr<Transport> transport_;
  std::function<Caller()> caller_;
  std::optional<Caller> who_;
};

}  // namespace

http::ClientTls Caller::tls() const {
  return {.roots = fleet_roots,
          .identity = http::TlsIdentity{.chain = {station.certificate}, .key = station.key}};
}

void refuse_unless_ca_url(const std::string& url) {
  if (media_queue_of(url)) return;
  if (is_est_ca(url)) {
    parse_est_ca(url);
  } else {
    refuse_unless_transport_url(url);
  }
}

std::string configured_ca(const Home& home, const Settings& settings) {
  std::string place = home.file("station.toml").string();
  if (settings.ca.empty()) {
    (void)home.station_certificate();  // says "not enrolled", which explains it
    throw Error(ErrorCode::configuration, place + ": ca is missing or empty",
                "write where requests go, as in ca = \"https://ca.factory.example:8443\", or enroll the "
                "station anew");
  }
  try {
    refuse_unless_ca_url(settings.ca);
  } catch (const Error& error) {
    throw Error(ErrorCode::configuration, place + ": ca is not valid: " + error.message(), error.hint());
  }
  return settings.ca;
}

std::unique_ptr<CaClient> open_ca(const std::string& url, int timeout_seconds,
                                  std::function<Caller()> caller) {
  if (is_est_ca(url)) return open_est_ca(url, timeout_seconds, std::move(caller));
  return std::make_unique<CmpClient>(open_transport(url, timeout_seconds), std::move(caller));
}

}  // namespace fleetroot::station
