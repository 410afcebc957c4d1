// One environment on its listener: who arrives is admitted, what is asked is answered, and what is refused is
// logged with its reason. Any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "device-gateway/belief.h"
#include "device-gateway/device_maker.h"
#include "device-gateway/event_log.h"
#include "device-gateway/metrics.h"
#include "device-gateway/upstream.h"
#include "lib/http/server.h"

namespace fleetroot::gateway {

// What the fronts of one gateway share.
struct Common {
  const Clock& clock;
  Belief& belief;
  EventLog& log;
  Metrics& metrics;
};

struct FrontSettings {
  EnvironmentName environment;
  Rules rules;
  http::TlsIdentity identity;
  std::optional<http::Url> upstream;
  std::size_t fronts = 1;                // of this process, who share its files
  std::unique_ptr<DeviceMaker> devices;  // where shared credentials are allowed
};

class Front {
 public:
  // Serves from construction on.
  Front(FrontSettings settings, http::Listener listener, Common common);
  Front(const Front&) = delete;
  Front& operator=(const Front&) = delete;

  const EnvironmentName& environment() const { return admission_.environment(); }
  const std::string& address() const { return server_->addresses().front(); }
  std::size_t connection_count() const { return server_->connection_count(); }
  // Closes the connections of those who would no longer be let in. When trust has changed, also of those who
  // were in the middle of their check: by what it may not know yet.
  void close_who_may_not_stay(bool trust_has_changed);
  // For connections from now on.
  void use(http::TlsIdentity identity) { server_->use(tls(std::move(identity))); }
  void stop(std::chrono::milliseconds grace) { server_->stop(grace); }

 private:
  struct Guest;  // who is at the other end of a connection

  http::ServerTls tls(http::TlsIdentity identity);
  void check(http::Peer& peer);
  void arrive(const http::Peer& peer);
  std::optional<Refusal> still(const Guest& guest, const World& world, Registry& registry, Time now) const;
  void answer(const http::Request& request, http::Reply reply);
  void hear_of(const http::Peer& peer, http::Trouble trouble, const std::string& words);

  void answer_device(const AdmittedDevice& device, const http::Request& request, http::Reply reply);
  void answer_provisioner(const AdmittedProvisioner& provisioner, const http::Request& request,
                          http::Reply reply);
  http::Response whoami(const AdmittedDevice& device) const;
  http::Response take_events(const AdmittedDevice& device, const http::Request& request);
  http::Response make_device(const AdmittedProvisioner& provisioner, const http::Request& request);

  http::Response refused(const http::Request& request, unsigned status, Refusal refusal,
                         const std::string& who);
  void tell_refusal(const char* event, Refusal refusal, const std::string& address, const std::string& who,
                    const std::string& detail);
  // What `body` returns. That we cannot decide is logged as any other refusal, and thrown on.
  template <typename Body>
  auto or_tell(const char* event, const std::string& address, const std::string& who, Body body);
  std::string label() const;

  Admission admission_;
  Common common_;
  std::unique_ptr<DeviceMaker> devices_;
  std::optional<Upstream> upstream_;
  std::optional<http::Server> server_;
};

}  // namespace fleetroot::gateway
