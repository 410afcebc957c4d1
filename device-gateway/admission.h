// Who is let in: a presented chain against one environment's trust, registry and rules. No socket, no log.
//
//   1. it is a chain
//   2. a provisioning key is known by its certificate, and by nothing else
//   3. it leads to one of the environment's Fleet Roots: signatures, validity, usages, constraints, strength
//   4. and to no other environment's
//   5. its first certificate is a device's: no CA, for TLS clients, may sign
//   6. with one common name, which is a device ID
//   7. no revocation list names anything on the path, and one could
//   8. the registry knows the device with this key, or has never heard of either
//   9. no manifest has a newer key for it; in strict mode, one names device and key
//  10. who is new, joins
//
// decide() changes nothing: it is asked in the middle of a handshake, before the client has proven that it
// holds the key. enter() is for afterwards.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "device-gateway/registry.h"
#include "device-gateway/trust.h"

namespace fleetroot::gateway {

struct Rules {
  bool allows_shared_credentials = false;
  bool is_strict = false;
  // Decides as ever, and remembers nothing.
  bool is_rehearsal = false;
};

// What the gateway believes at one moment, for all of its environments.
struct World {
  std::map<EnvironmentName, Trust, ByText> trust;
  // By the SHA-256 of their certificates; how often they were used is the registry's word.
  std::map<std::string, CredentialRecord> credentials;
  std::int64_t generation = 0;

  static World read(Registry& registry, const std::vector<EnvironmentName>& environments);
};

// admitted: known. renewed: known, with a new certificate for its key. reworked: known, and comes with the
// new key that a manifest announced. joins: new.
enum class Standing { admitted, renewed, reworked, joins };
std::string_view name_of(Standing standing);

struct AdmittedDevice {
  DeviceId id;
  // As in a DeviceRecord.
  std::string key;
  std::string certificate;
  std::string tbs;
  Standing standing = Standing::admitted;
  Path path;
  // All of it: another environment's path may take another way.
  std::vector<Certificate> presented;
};

struct AdmittedProvisioner {
  CredentialName name;
  std::string certificate;
};

using Decision = std::variant<AdmittedDevice, AdmittedProvisioner, Refusal>;

class Admission {
 public:
  Admission(EnvironmentName environment, const Rules& rules)
      : environment_(std::move(environment)), rules_(rules) {}

  // `presented`: the client's certificate first. Error only if the registry cannot be read.
  Decision decide(std::span<const Certificate> presented, const World& world, Registry& registry,
                  Time now) const;

  // For a client that has proven its key: joins it, or takes the new key, durably. Asks the registry again:
  // of two that came at once under one name, one joins. Returns why not.
  std::optional<Refusal> enter(const AdmittedDevice& device, Registry& registry, Time now) const;

  // Whether one who was let in would still be, by what can have changed since: trust, revocation, registry.
  std::optional<Refusal> still(const AdmittedDevice& device, const World& world, Registry& registry,
                               Time now) const;
  std::optional<Refusal> still(const AdmittedProvisioner& provisioner, const World& world, Time now) const;

  const EnvironmentName& environment() const { return environment_; }
  const Rules& rules() const { return rules_; }

 private:
  std::variant<Standing, Refusal> standing_of(const AdmittedDevice& device, Registry& registry) const;
  bool is_revoked_by_manifest(const AdmittedDevice& device, Registry& registry) const;
  std::optional<Refusal> refusal_of(const CredentialRecord& credential, Time now) const;

  EnvironmentName environment_;
  Rules rules_;
};

// The one common name, if it is a device ID.
std::variant<DeviceId, Refusal> device_id_of(const Certificate& certificate);

}  // namespace fleetroot::gateway
