#include "device-gateway/serve.h"

#include <fmt/format.h>

#include <csignal>
#include <list>

#include "device-gateway/front.h"
#include "device-gateway/setup.h"
#include "lib/base/files.h"

namespace fleetroot::gateway {
namespace {

constexpr timespec kWatchInterval{1, 0};
// How often everybody is looked at again although nothing was imported: certificates expire.
constexpr int kIntervalsBetweenRounds = 30;
constexpr std::chrono::seconds kGrace{5};

// Signals that end us come to the one who waits for them, and to no other thread.
class EndSignals {
 public:
  EndSignals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }
  // False when the time is over.
  bool wait(const timespec& time) const { return sigtimedwait(&set_, nullptr, &time) > 0; }

 private:
  sigset_t set_{};
};

// The server's key and certificate, the latter renewed where its end is near.
CertifiedKey open_server(const Home& home, const Settings& settings, const EnvironmentSettings& environment,
                         const CertifiedKey& root, const pkcs11::SigningToken& token, Time now) {
  CertifiedKey server = open_key(home, environment.name, "server.pem", token, environment.server_key);
  if (!is_due(server.certificate, now)) return server;
  PublicKey key = token.key(environment.server_key).public_key;
  server.certificate = make_server_certificate(settings.names, key, root, now);
  write_file(home.file(environment.name, "server.pem"), server.certificate.pem());
  return server;
}

void watch(const EndSignals& signals, std::list<Front>& fronts, const Common& common) {
  for (int interval = 1; !signals.wait(kWatchInterval); ++interval) {
    bool has_changed = false;
    try {
      has_changed = common.belief.refresh();
    } catch (const Error& error) {
      // The old belief holds until the registry can be read again.
      common.log.write("registry.unreadable", {{"message", error.what()}});
    }
    bool is_round = interval % kIntervalsBetweenRounds == 0;
    for (Front& front : fronts) {
      if (has_changed || is_round) front.close_who_may_not_stay(has_changed);
      common.metrics.set("connections", fmt::format("environment=\"{}\"", front.environment().text()),
                         static_cast<std::int64_t>(front.connection_count()));
    }
    if (has_changed) common.log.write("trust.reloaded", {{"generation", common.belief.world()->generation}});
  }
}

std::optional<http::Server> serve_metrics(const std::string& address, Metrics& metrics) {
  if (address.empty()) return std::nullopt;
  std::vector<http::Listener> listeners;
  listeners.push_back(http::Listener::bind(address));
  return std::optional<http::Server>(std::in_place,
                                     http::ServerSettings{.listeners = std::move(listeners), .threads = 1},
                                     [&metrics](const http::Request& request, http::Reply reply) {
                                       if (request.path != "/metrics")
                                         return reply(http::Response::text(404, "GET /metrics\n"));
                                       reply(http::Response::text(200, metrics.text()));
                                     });
}

}  // namespace

int serve(const Home& home, const Serving& serving, const Clock& clock) {
  EndSignals signals;
  Settings settings = home.settings();
  for (const auto& [name, address] : serving.listen) settings.environment(EnvironmentName::parse(name));
  pkcs11::SigningToken token(settings.token);
  Belief belief(home.registry(), settings.environment_names());
  EventLog log(clock);
  Metrics metrics;
  Common common{.clock = clock, .belief = belief, .log = log, .metrics = metrics};
  std::list<CertifiedKey> servers;  // OpenSSL's contexts refer to their keys
  std::list<Front> fronts;
  for (const EnvironmentSettings& environment : settings.environments) {
    auto address = serving.listen.find(environment.name.text());
    if (address == serving.listen.end()) continue;
    CertifiedKey root = open_key(home, environment.name, "gateway-root.pem", token, environment.root_key);
    servers.push_back(open_server(home, settings, environment, root, token, clock.now()));
    FrontSettings front{.environment = environment.name,
                        .rules = environment.rules(),
                        // Devices pin the root: it need not be sent.
                        .identity = {.chain = {servers.back().certificate}, .key = servers.back().key.get()},
                        .upstream = environment.upstream,
                        .devices = nullptr};
    front.rules.is_rehearsal = serving.is_rehearsal;
    if (environment.device_root_key && !serving.is_rehearsal) {
      front.devices = std::make_unique<DeviceMaker>(
          environment.name,
          open_key(home, environment.name, "fleet-root.pem", token, *environment.device_root_key),
          root.certificate);
    }
    fronts.emplace_back(std::move(front), http::Listener::bind(address->second), common);
    fmt::print("listening on https://{} ({})\n", fronts.back().address(), environment.name.text());
  }
  std::optional<http::Server> metrics_server = serve_metrics(serving.metrics, metrics);
  if (metrics_server)
    fmt::print("listening on http://{}/metrics (metrics)\n", metrics_server->addresses().front());
  std::fflush(stdout);
  watch(signals, fronts, common);
  for (Front& front : fronts) front.stop(kGrace);
  return 0;
}

}  // namespace fleetroot::gateway
