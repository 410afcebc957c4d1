#include "tool/ca_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "lib/base/clock.h"
#include "lib/x509/chain.h"
#include "tool/est_client.h"
#include "tool/home.h"
#include "tool/media_queue.h"
#include "tool/transport.h"

namespace fleetroot::station {
namespace {

void wait_until_valid(const Certificate& certificate) {
  SystemClock clock;
  auto ahead = certificate.not_before() - clock.now();
  if (ahead <= ahead.zero() || ahead > kSmallSkew) return;
  fmt::print(stderr,
             "fleetroot-station: the CA's clock is {} seconds ahead of this station's; waiting until the "
             "certificate is valid\n",
             ahead.count());
  while (clock.now() < certificate.not_before()) std::this_thread::sleep_until(certificate.not_before());
}

// The same on every way to the CA.
class PatientClient : public CaClient {
 public:
  explicit PatientClient(std::unique_ptr<CaClient> client) : client_(std::move(client)) {}

  cmp::Enrolled enroll(const CertificateRequest& request, const cmp::Accept& accept) override {
    return client_->enroll(request, patient(accept));
  }
  cmp::Enrolled renew(const cmp::Accept& accept) override { return client_->renew(patient(accept)); }
  bool has_lost_an_answer() const override { return client_->has_lost_an_answer(); }
  bool has_sent() const override { return client_->has_sent(); }
  void finish() override { client_->finish(); }

 private:
  static cmp::Accept patient(const cmp::Accept& accept) {
    return [&accept](const cmp::Enrolled& answer) {
      wait_until_valid(answer.certificate);
      accept(answer);
    };
  }

  std::unique_ptr<CaClient> client_;
};

class CmpClient : public CaClient {
 public:
  CmpClient(std::unique_ptr<Transport> transport, std::function<Caller()> caller)
      : transport_(std::move(transport)), caller_(std::move(caller)) {}

  cmp::Enrolled enroll(const CertificateRequest& request, const cmp::Accept& accept) override {
    return client().enroll(request, accept);
  }
  cmp::Enrolled renew(const cmp::Accept& accept) override { return client().renew(accept); }
  bool has_lost_an_answer() const override { return transport_->has_lost_an_answer(); }
  bool has_sent() const override { return transport_->has_sent(); }
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

// RFC 8446 section 4.4.2: all but the root, which a server must have itself.
http::ClientTls Caller::tls() const {
  http::TlsIdentity identity{.chain = {station.certificate}, .key = station.key};
  auto issuer = std::ranges::find_if(issuing, [&](const Certificate& certificate) {
    return !certificate.is_self_signed() && has_issued(certificate, station.certificate);
  });
  if (issuer != issuing.end()) identity.chain.push_back(*issuer);
  return {.roots = fleet_roots, .identity = std::move(identity)};
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
  std::unique_ptr<CaClient> client;
  if (is_est_ca(url)) {
    client = open_est_ca(url, timeout_seconds, std::move(caller));
  } else {
    client = std::make_unique<CmpClient>(open_transport(url, timeout_seconds), std::move(caller));
  }
  return std::make_unique<PatientClient>(std::move(client));
}

}  // namespace fleetroot::station
