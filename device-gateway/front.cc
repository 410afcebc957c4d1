#include "device-gateway/front.h"

#include <fmt/format.h>

#include "device-gateway/answers.h"
#include "lib/base/strict_json.h"

namespace fleetroot::gateway {
namespace {

using nlohmann::ordered_json;

http::Limits limits(std::size_t fronts) {
  http::Limits limits;
  limits.servers = fronts;
  // Devices stay connected, and wait.
  limits.idle = std::chrono::hours(1);
  limits.connections = 20'000;
  limits.connections_per_address = 20'000;  // a fleet behind one address translator
  limits.connections_per_client = 16;       // so that no device takes the places of the others
  return limits;
}

Refusal refusal_of(http::Trouble trouble) {
  switch (trouble) {
    case http::Trouble::no_certificate:
      return Refusal::no_certificate;
    case http::Trouble::old_tls:
      return Refusal::tls_too_old;
    case http::Trouble::handshake:
      return Refusal::handshake_failed;
    case http::Trouble::slow_handshake:
      return Refusal::handshake_timeout;
    case http::Trouble::slow_request:
      return Refusal::request_timeout;
    case http::Trouble::body_too_large:
      return Refusal::body_too_large;
    case http::Trouble::head_too_large:
    case http::Trouble::bad_request:
      return Refusal::bad_request;
  }
  return Refusal::bad_request;
}

unsigned status_of(Refusal refusal) {
  switch (refusal) {
    case Refusal::device_already_registered:
      return 409;
    case Refusal::bad_json:
    case Refusal::ttl_too_long:
    case Refusal::invalid_device_id:
      return 400;
    default:
      return 403;
  }
}

// One object, or a list of them; nothing if it is no such thing.
std::optional<ordered_json> parse_events(BytesView body) {
  constexpr std::size_t kMaximumEvents = 1000;  // each is a line of the log
  ordered_json events;
  try {
    events = parse_strict_json(as_text(body));
  } catch (const Error&) {
    return std::nullopt;
  }
  if (events.is_object()) events = ordered_json::array({events});
  bool is_good = events.is_array() && !events.empty() && events.size() <= kMaximumEvents;
  for (const ordered_json& event : events) is_good = is_good && event.is_object();
  return is_good ? std::optional(std::move(events)) : std::nullopt;
}

std::string subject_of(const http::Peer& peer) {
  return peer.certificate ? peer.certificate->subject() : std::string();
}

}  // namespace

struct Front::Guest {
  std::variant<AdmittedDevice, AdmittedProvisioner> identity;

  static std::shared_ptr<const Guest> of(const http::Peer& peer) {
    const auto* guest = std::any_cast<std::shared_ptr<const Guest>>(&peer.note);
    return guest != nullptr ? *guest : nullptr;
  }
};

Front::Front(FrontSettings settings, http::Listener listener, Common common)
    : admission_(settings.environment, settings.rules),
      common_(common),
      devices_(std::move(settings.devices)) {
  if (settings.upstream) {
    upstream_.emplace(*settings.upstream, [this](Refusal refusal, const std::string& address,
                                                 const std::string& device, const std::string& detail) {
      tell_refusal("request.refused", refusal, address, device, detail);
    });
  }
  std::vector<http::Listener> listeners;
  listeners.push_back(std::move(listener));
  server_.emplace(
      http::ServerSettings{.listeners = std::move(listeners),
                           .tls = tls(std::move(settings.identity)),
                           .limits = limits(settings.fronts),
                           .on_trouble = [this](const http::Peer& peer, http::Trouble trouble,
                                                const std::string& words) { hear_of(peer, trouble, words); }},
      [this](const http::Request& request, http::Reply reply) { answer(request, std::move(reply)); });
}

http::ServerTls Front::tls(http::TlsIdentity identity) {
  return {.identity = std::move(identity),
          .client_certificate = http::ClientCertificate::required,
          .check = [this](http::Peer& peer) { check(peer); },
          .arrival = [this](const http::Peer& peer) { arrive(peer); }};
}

template <typename Body>
auto Front::or_tell(const char* event, const std::string& address, const std::string& who, Body body) {
  try {
    return body();
  } catch (const Error& error) {
    tell_refusal(event, Refusal::out_of_order, address, who, error.what());
    throw;
  }
}

std::string Front::label() const {
  return fmt::format("environment=\"{}\"", environment().text());
}

void Front::tell_refusal(const char* event, Refusal refusal, const std::string& address,
                         const std::string& who, const std::string& detail) {
  ordered_json line{{"environment", environment().text()},
                    {"reason", name_of(refusal)},
                    {"message", words_of(refusal)},
                    {"address", address}};
  if (!who.empty()) line["who"] = who;
  if (!detail.empty()) line["detail"] = detail;
  common_.log.write(is_alarm(refusal) ? "alarm" : event, line);
  common_.metrics.count("refused_total", fmt::format("{},reason=\"{}\"", label(), name_of(refusal)));
  if (is_alarm(refusal)) common_.metrics.count("alarms_total", label());
}

// In the middle of the handshake: decides, and changes nothing.
void Front::check(http::Peer& peer) {
  Decision decision = or_tell("connection.refused", peer.address, subject_of(peer), [&] {
    Belief::Lease registry = common_.belief.registry();
    return admission_.decide(peer.chain, *common_.belief.world(), *registry, common_.clock.now());
  });
  if (const Refusal* refusal = std::get_if<Refusal>(&decision)) {
    tell_refusal("connection.refused", *refusal, peer.address, subject_of(peer), "");
    throw Error(ErrorCode::not_authorised, std::string(words_of(*refusal)), "see the gateway's log");
  }
  if (auto* device = std::get_if<AdmittedDevice>(&decision)) {
    peer.client = device->id.text();
    peer.note = std::make_shared<const Guest>(Guest{std::move(*device)});
  } else {
    peer.note = std::make_shared<const Guest>(Guest{std::get<AdmittedProvisioner>(std::move(decision))});
  }
}

// The client has proven its key: who is new, joins.
void Front::arrive(const http::Peer& peer) {
  std::shared_ptr<const Guest> guest = Guest::of(peer);
  const AdmittedDevice* device = guest ? std::get_if<AdmittedDevice>(&guest->identity) : nullptr;
  if (device == nullptr) {
    common_.metrics.count("admitted_total", fmt::format("{},standing=\"provisioning\"", label()));
    return;
  }
  std::string standing(name_of(device->standing));
  if (device->standing != Standing::admitted) {
    std::optional<Refusal> refusal = or_tell("connection.refused", peer.address, device->id.text(), [&] {
      Belief::Lease registry = common_.belief.registry();
      return admission_.enter(*device, *registry, common_.clock.now());
    });
    if (refusal) {
      tell_refusal("connection.refused", *refusal, peer.address, device->id.text(), "");
      throw Error(ErrorCode::not_authorised, std::string(words_of(*refusal)), "see the gateway's log");
    }
    if (admission_.rules().is_rehearsal) standing = "rehearsed";
    common_.log.write("device." + standing, {{"environment", environment().text()},
                                             {"device_id", device->id.text()},
                                             {"address", peer.address},
                                             {"certificate", device->certificate}});
  }
  common_.metrics.count("admitted_total", fmt::format("{},standing=\"{}\"", label(), standing));
}

void Front::hear_of(const http::Peer& peer, http::Trouble trouble, const std::string& words) {
  std::shared_ptr<const Guest> guest = Guest::of(peer);
  tell_refusal(guest ? "request.refused" : "connection.refused", refusal_of(trouble), peer.address,
               subject_of(peer), words);
}

void Front::close_who_may_not_stay(bool trust_has_changed) {
  std::shared_ptr<const World> world = common_.belief.world();
  Belief::Lease registry = common_.belief.registry();
  Time now = common_.clock.now();
  server_->close_connections([&](const http::Peer& peer) {
    if (!peer.certificate) return false;
    std::shared_ptr<const Guest> guest = Guest::of(peer);
    if (!guest) return trust_has_changed;  // it may come again
    try {
      std::optional<Refusal> refusal = still(*guest, *world, *registry, now);
      if (refusal) tell_refusal("connection.closed", *refusal, peer.address, subject_of(peer), "");
      return refusal.has_value();
    } catch (const Error& error) {
      // It is so for everybody, and soon no more.
      if (error.code() == ErrorCode::busy) throw;
      // Who cannot be judged may not stay, and keeps nobody else from being judged.
      tell_refusal("connection.closed", Refusal::out_of_order, peer.address, subject_of(peer), error.what());
      return true;
    }
  });
}

std::optional<Refusal> Front::still(const Guest& guest, const World& world, Registry& registry,
                                    Time now) const {
  if (const auto* device = std::get_if<AdmittedDevice>(&guest.identity))
    return admission_.still(*device, world, registry, now);
  return admission_.still(std::get<AdmittedProvisioner>(guest.identity), world, now);
}

http::Response Front::refused(const http::Request& request, unsigned status, Refusal refusal,
                              const std::string& who) {
  tell_refusal("request.refused", refusal, request.peer.address, who, "");
  return refusal_answer(status, refusal);
}

void Front::answer(const http::Request& request, http::Reply reply) {
  common_.metrics.count("requests_total", label());
  std::shared_ptr<const Guest> guest = Guest::of(request.peer);
  if (!guest) throw Error(ErrorCode::internal, "a request came from nobody", "report this");
  if (const auto* device = std::get_if<AdmittedDevice>(&guest->identity)) {
    answer_device(*device, request, std::move(reply));
  } else {
    answer_provisioner(std::get<AdmittedProvisioner>(guest->identity), request, std::move(reply));
  }
}

void Front::answer_device(const AdmittedDevice& device, const http::Request& request, http::Reply reply) {
  if (request.method == "GET" && request.path == "/whoami") return reply(whoami(device));
  if (request.method == "POST" && request.path == "/devices" && devices_) {
    return reply(refused(request, 403, Refusal::not_a_provisioning_key, device.id.text()));
  }
  if (upstream_) {
    return upstream_->forward(request, device.id, environment().text(), std::move(reply));
  }
  if (request.method == "POST" && request.path == "/events") return reply(take_events(device, request));
  reply(refused(request, 404, Refusal::not_found, device.id.text()));
}

void Front::answer_provisioner(const AdmittedProvisioner& provisioner, const http::Request& request,
                               http::Reply reply) {
  bool is_meant = devices_ && request.method == "POST" && request.path == "/devices";
  if (!is_meant) return reply(refused(request, 403, Refusal::only_for_provisioning, provisioner.name.text()));
  reply(make_device(provisioner, request));
}

http::Response Front::whoami(const AdmittedDevice& device) const {
  ordered_json body{{"device_id", device.id.text()},
                    {"environment", environment().text()},
                    {"standing", admission_.rules().is_rehearsal ? "rehearsed" : name_of(device.standing)}};
  return http::Response::json(200, body.dump() + "\n");
}

http::Response Front::take_events(const AdmittedDevice& device, const http::Request& request) {
  std::optional<ordered_json> events = parse_events(request.body);
  if (!events) return refused(request, 400, Refusal::bad_json, device.id.text());
  for (const ordered_json& event : *events) {
    common_.log.write(
        "device.event",
        {{"environment", environment().text()}, {"device_id", device.id.text()}, {"content", event}});
  }
  return http::Response::json(202, ordered_json{{"accepted", events->size()}}.dump() + "\n");
}

http::Response Front::make_device(const AdmittedProvisioner& provisioner, const http::Request& request) {
  std::variant<DeviceWish, Refusal> wish = parse_wish(request.body);
  if (const Refusal* refusal = std::get_if<Refusal>(&wish)) {
    return refused(request, status_of(*refusal), *refusal, provisioner.name.text());
  }
  const DeviceWish& device = std::get<DeviceWish>(wish);
  std::variant<Bytes, Refusal> made = or_tell("request.refused", request.peer.address, device.id.text(), [&] {
    Belief::Lease registry = common_.belief.registry();
    return devices_->make(device, provisioner.name, *registry, common_.clock.now());
  });
  if (const Refusal* refusal = std::get_if<Refusal>(&made)) {
    return refused(request, status_of(*refusal), *refusal, device.id.text());
  }
  common_.log.write("device.provisioned", {{"environment", environment().text()},
                                           {"device_id", device.id.text()},
                                           {"credentials", provisioner.name.text()},
                                           {"address", request.peer.address}});
  common_.metrics.count("provisioned_total", label());
  return {.status = 200,
          .content_type = "application/x-pkcs12",
          .body = std::get<Bytes>(std::move(made)),
          .is_secret = true};
}

}  // namespace fleetroot::gateway
