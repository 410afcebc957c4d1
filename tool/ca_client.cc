#include "tool/ca_client.h"

#include "tool/est_client.h"
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
          .intermediates = issuing,
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

std::unique_ptr<CaClient> open_ca(const std::string& url, int timeout_seconds,
                                  std::function<Caller()> caller) {
  if (is_est_ca(url)) return open_est_ca(url, timeout_seconds, std::move(caller));
  return std::make_unique<CmpClient>(open_transport(url, timeout_seconds), std::move(caller));
}

}  // namespace fleetroot::station
