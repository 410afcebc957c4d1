#include "device-gateway/serve.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <list>
#include <mutex>
#include <utility>

#include "device-gateway/front.h"
#include "device-gateway/setup.h"
#include "lib/base/files.h"
#include "lib/base/process.h"
#include "lib/base/program.h"
#include "lib/x509/certificate_request.h"

namespace fleetroot::gateway {
namespace {

constexpr int kWatchInterval = 1000;  // milliseconds
// How often everybody is looked at again although nothing was imported: certificates expire.
constexpr int kIntervalsBetweenRounds = 30;
constexpr std::chrono::seconds kGrace{5};

// False when the time is over.
bool wait_for(const FileDescriptor& end_signals, int milliseconds) {
  pollfd one{end_signals.get(), POLLIN, 0};
  return poll(&one, 1, milliseconds) > 0;
}

// Why the token did not sign, from whichever thread asked it to.
class SigningTrouble {
 public:
  void note(const Error& error) {
    std::lock_guard lock(mutex_);
    error_ = error;
  }
  // Nothing unless there was some since the last time.
  std::optional<Error> take() {
    std::lock_guard lock(mutex_);
    return std::exchange(error_, std::nullopt);
  }

 private:
  std::mutex mutex_;
  std::optional<Error> error_;
};

// Who asked it waits for ever, and nobody can be let in: whoever starts this program again has the module
// loaded anew.
void end_with(const Error& error) {
  print_error("fleetroot-gateway", error);
  _exit(exit_code(error.code()));
}

// One environment that is served, with its keys.
struct Running {
  const EnvironmentSettings* environment;
  http::Listener listener;
  CertifiedKey root;
  CertifiedKey server;
  std::unique_ptr<DeviceMaker> devices{};
  std::unique_ptr<Front> front{};

  // Devices pin the root: it need not be sent.
  http::TlsIdentity identity() const { return {.chain = {server.certificate}, .key = server.key.get()}; }
};

// Whether the server's certificate was near its end, or has names that are none of ours any more, and is a
// new one now.
bool renew_if_due(Running& running, const Home& home, const Settings& settings, Time now) {
  if (!is_due(running.server.certificate, settings.names, now)) return false;
  Certificate renewed =
      make_server_certificate(settings.names, running.server.certificate.public_key(), running.root, now);
  write_file(home.file(running.environment->name, "server.pem"), renewed.pem());
  running.server.certificate = std::move(renewed);
  return true;
}

// One that is good yet will do where it cannot be renewed now: it is tried again while it serves.
void renew_at_start(Running& running, const Home& home, const Settings& settings, Time now) {
  try {
    renew_if_due(running, home, settings, now);
  } catch (const Error& error) {
    if (now > running.server.certificate.not_after()) throw;
    print_remark("fleetroot-gateway", fmt::format("the certificate of {} is not renewed yet: {}",
                                                  running.environment->name.text(), error.what()));
  }
}

// Why this key does not sign, or nothing.
std::optional<Error> failure_to_sign(const CertifiedKey& key) {
  try {
    refuse_unless_signs(key.certificate.public_key(), key.key.get());
    return std::nullopt;
  } catch (const Error& error) {
    return error;
  }
}

Running open_keys(const Home& home, const EnvironmentSettings& environment, http::Listener listener,
                  const pkcs11::SigningToken& token) {
  return {.environment = &environment,
          .listener = std::move(listener),
          .root = open_key(home, environment.name, "gateway-root.pem", token, environment.root_key),
          .server = open_key(home, environment.name, "server.pem", token, environment.server_key)};
}

std::unique_ptr<DeviceMaker> device_maker(const Home& home, const Running& running,
                                          const pkcs11::SigningToken& token) {
  const EnvironmentSettings& environment = *running.environment;
  return std::make_unique<DeviceMaker>(
      environment.name,
      open_key(home, environment.name, "fleet-root.pem", token, *environment.device_root_key),
      running.root.certificate);
}

// Those of the environments by their names.
std::map<std::string, http::Listener> listen(const Serving& serving) {
  std::map<std::string, http::Listener> listeners;
  for (const auto& [name, address] : serving.listen) listeners.emplace(name, http::Listener::bind(address));
  return listeners;
}

// On stdout, before the log.
void announce(const std::list<Running>& all, const std::optional<http::Listener>& metrics) {
  for (const Running& running : all) {
    fmt::print("listening on https://{} ({})\n", running.listener.address(),
               running.environment->name.text());
  }
  if (metrics) fmt::print("listening on http://{}/metrics (metrics)\n", metrics->address());
  std::fflush(stdout);
}

void start(Running& running, const Serving& serving, const Common& common) {
  FrontSettings front{.environment = running.environment->name,
                      .rules = running.environment->rules(),
                      .identity = running.identity(),
                      .upstream = running.environment->upstream,
                      .fronts = serving.listen.size(),
                      .devices = std::move(running.devices)};
  front.rules.is_rehearsal = serving.is_rehearsal;
  running.front = std::make_unique<Front>(std::move(front), std::move(running.listener), common);
}

class Watch {
 public:
  Watch(std::list<Running>& running, const Home& home, const Settings& settings, const Common& common,
        SigningTrouble& trouble)
      : running_(running), home_(home), settings_(settings), common_(common), trouble_(trouble) {}

  // Until told to end; or until the token or the registry is lost, with the reason. What else fails is
  // logged, and tried again: the old belief holds until then.
  std::optional<Error> run(const FileDescriptor& end_signals) {
    for (int interval = 1; !wait_for(end_signals, kWatchInterval); ++interval) {
      if (std::optional<Error> reason = loss_of_token()) return reason;
      if (std::optional<Error> reason = loss_of_registry()) return reason;
      attempt("registry.unreadable", [&] { look_at_trust(interval % kIntervalsBetweenRounds == 0); });
      for (Running& running : running_) {
        attempt("server.not_renewed", [&] { renew(running); });
        common_.metrics.set("connections",
                            fmt::format("environment=\"{}\"", running.environment->name.text()),
                            static_cast<std::int64_t>(running.front->connection_count()));
      }
    }
    return std::nullopt;
  }

 private:
  // Clients choose the digest that a handshake signs. One that this token cannot sign is theirs to change; a
  // token that does not make our own signature either is gone.
  std::optional<Error> loss_of_token() {
    if (!trouble_.take()) return std::nullopt;
    for (const Running& running : running_) {
      // The token's own words come first, where there are any.
      if (std::optional<Error> failure = failure_to_sign(running.server)) {
        std::optional<Error> trouble = trouble_.take();
        return trouble ? trouble : failure;
      }
    }
    return std::nullopt;
  }

  // Nobody is let in by then. Who starts it again has it open what is there.
  std::optional<Error> loss_of_registry() {
    try {
      common_.belief.refuse_if_replaced();
      return std::nullopt;
    } catch (const Error& error) {
      common_.log.write("registry.unreadable", {{"message", error.what()}});
      return error;
    }
  }

  // False if it failed.
  template <typename Step>
  bool attempt(const char* event, Step step) {
    try {
      step();
      return true;
    } catch (const Error& error) {
      common_.log.write(event, {{"message", error.what()}});
      return false;
    }
  }

  void look_at_trust(bool is_round) {
    has_changed_ = common_.belief.refresh() || has_changed_;
    bool is_done = true;
    for (Running& running : running_) {
      if (!has_changed_ && !is_round) continue;
      is_done =
          attempt("registry.unreadable", [&] { running.front->close_who_may_not_stay(has_changed_); }) &&
          is_done;
    }
    if (!is_done) return;
    if (has_changed_)
      common_.log.write("trust.reloaded", {{"generation", common_.belief.world()->generation}});
    has_changed_ = false;
  }

  void renew(Running& running) {
    if (!renew_if_due(running, home_, settings_, common_.clock.now())) return;
    running.front->use(running.identity());
    common_.log.write("server.renewed", {{"environment", running.environment->name.text()},
                                         {"until", format_time(running.server.certificate.not_after())}});
  }

  std::list<Running>& running_;
  const Home& home_;
  const Settings& settings_;
  Common common_;
  SigningTrouble& trouble_;
  bool has_changed_ = false;  // and not everybody has been looked at since
};

std::optional<http::Server> serve_metrics(std::optional<http::Listener> listener, Metrics& metrics) {
  if (!listener) return std::nullopt;
  std::vector<http::Listener> listeners;
  listeners.push_back(*std::move(listener));
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
  FileDescriptor end_signals = watch_stop_signals();  // in every thread
  Settings settings = home.settings();
  for (const auto& [name, address] : serving.listen) settings.environment(EnvironmentName::parse(name));
  std::map<std::string, http::Listener> listeners = listen(serving);
  std::optional<http::Listener> metrics_listener;
  if (!serving.metrics.empty()) metrics_listener = http::Listener::bind(serving.metrics);
  SigningTrouble trouble;
  settings.token.when_signing_fails = [&trouble](const Error& error) { trouble.note(error); };
  pkcs11::SigningToken token(settings.token);
  token.watch(end_with);
  Belief belief(home.registry(), settings.environment_names());
  Metrics metrics;
  EventLog log(clock, metrics);
  Common common{.clock = clock, .belief = belief, .log = log, .metrics = metrics};
  std::list<Running> all;
  for (const EnvironmentSettings& environment : settings.environments) {
    auto listener = listeners.find(environment.name.text());
    if (listener == listeners.end()) continue;
    Running& running = all.emplace_back(open_keys(home, environment, std::move(listener->second), token));
    renew_at_start(running, home, settings, clock.now());
    if (environment.device_root_key && !serving.is_rehearsal)
      running.devices = device_maker(home, running, token);
  }
  // Whatever can be refused has been. Who is admitted from here on is in the log, behind these lines.
  announce(all, metrics_listener);
  std::optional<http::Server> metrics_server = serve_metrics(std::move(metrics_listener), metrics);
  for (Running& running : all) start(running, serving, common);
  std::optional<Error> loss = Watch(all, home, settings, common, trouble).run(end_signals);
  for (Running& running : all) running.front->stop(kGrace);
  if (loss) throw Error(*loss);
  return 0;
}

}  // namespace fleetroot::gateway
