// The gateway's memory: one SQLite file with Fleet Roots, devices, revocation lists, manifests and
// provisioning keys, each in its environment. One object a thread; several processes share the file, and a
// committed change survives power loss. What its unique indexes say holds whatever the code above does: one
// key for each device of an environment, one device and one environment for each key, one environment for
// each Fleet Root.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device-gateway/environment.h"
#include "lib/base/clock.h"
#include "lib/store/database.h"
#include "lib/x509/certificate.h"
#include "lib/x509/device_id.h"

namespace fleetroot::gateway {

// SHA-256 over the SubjectPublicKeyInfo, hexadecimal: a key's name here. Of any kind of key.
std::string key_digest(const Certificate& certificate);
// SHA-256 over the TBSCertificate, hexadecimal: which certificate it is. Its fingerprint does not say: with
// the other valid ECDSA signature (n-s for s), which nobody needs a key to make, it has another.
std::string tbs_digest(const Certificate& certificate);

enum class DeviceState { admitted, blocked };
// How it came: over mutual TLS, or made by POST /devices.
enum class DeviceOrigin { joined, provisioned };
std::string_view name_of(DeviceState state);
std::string_view name_of(DeviceOrigin origin);

struct DeviceRecord {
  DeviceId id;
  std::string key;          // key_digest()
  std::string certificate;  // SHA-256, hexadecimal
  std::string tbs;          // tbs_digest(); empty where a build before it was kept wrote the row
  DeviceState state = DeviceState::admitted;
  DeviceOrigin origin = DeviceOrigin::joined;
  std::string joined_at;
};

struct RootRecord {
  EnvironmentName environment;
  std::string fingerprint;
  std::string added_at;
  Certificate certificate;
};

struct ListRecord {
  std::string issuer_key;  // its subject key identifier, hexadecimal
  bool is_delta = false;
  std::int64_t number = 0;
  Bytes der;
};

struct CredentialRecord {
  CredentialName name;
  EnvironmentName environment;
  std::string certificate;  // SHA-256, hexadecimal
  std::int64_t quota = 0;
  std::int64_t used = 0;
  Time expires;
  bool is_revoked = false;
  std::string created_at;
};

// What a manifest says of one certificate of a device's.
struct ManifestDevice {
  DeviceId id;
  std::string key;
  std::string certificate;
  std::string issued_at;  // RFC 3339
  // It takes the place of another certificate of this device's, whose key counts no more.
  bool is_rework = false;
  bool is_revoked = false;
};

// The newest one of an order.
struct ManifestRecord {
  std::string ca;     // key_digest() of the issuing CA's certificate
  std::string order;  // as the CA calls it
  std::string created;
  std::string digest;  // of what is signed
};

// Error(io) if init's file is gone, or empty: SQLite would make another, which knows nobody.
void refuse_if_lost(const std::filesystem::path& registry);

class Registry {
 public:
  // Makes the file if it is not there.
  explicit Registry(const std::filesystem::path& file);
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // Error(io) once its file is gone or another one is in its place. Any thread.
  void refuse_if_replaced() const { database_.refuse_if_replaced(); }
  // Held by whoever changes something; what was read inside still holds when it commits.
  WriteTransaction write() { return WriteTransaction(database_); }
  // Grows with every change of what is trusted; a device that joins does not count.
  std::int64_t generation();

  void add_root(const RootRecord& root);
  std::vector<RootRecord> roots();
  // Of whatever environment.
  std::optional<RootRecord> root_with_key(const std::string& key);
  bool remove_root(const EnvironmentName& environment, const std::string& fingerprint);

  std::optional<DeviceRecord> device(const EnvironmentName& environment, const DeviceId& id);
  // Of whatever environment.
  std::optional<DeviceId> device_with_key(const std::string& key);
  bool is_superseded(const std::string& key);
  void add_device(const EnvironmentName& environment, const DeviceRecord& device);
  // The device's new key; the old one is superseded for ever.
  void replace_key(const EnvironmentName& environment, const DeviceRecord& device,
                   const std::string& old_key);
  // The same key with another certificate.
  void note_certificate(const EnvironmentName& environment, const DeviceRecord& device);
  bool set_state(const EnvironmentName& environment, const DeviceId& id, DeviceState state);
  // In the order of their IDs.
  void each_device(const EnvironmentName& environment, const std::function<void(const DeviceRecord&)>& visit);

  void put_list(const EnvironmentName& environment, const ListRecord& list);
  std::vector<ListRecord> lists(const EnvironmentName& environment);

  std::optional<ManifestRecord> manifest(const EnvironmentName& environment, const std::string& ca,
                                         const std::string& order);
  // Revoked certificates are taken out; of those that are left, an older one does not replace a newer one.
  void put_manifest(const EnvironmentName& environment, const ManifestRecord& manifest,
                    const std::vector<ManifestDevice>& devices);
  // The newest that is not revoked.
  std::optional<ManifestDevice> on_manifest(const EnvironmentName& environment, const DeviceId& id);
  // Whether one has revoked a certificate of this device's key.
  bool is_revoked_by_manifest(const EnvironmentName& environment, const DeviceId& id, const std::string& key);
  // The same of one certificate, as a build before revoked_keys noted it.
  bool was_revoked_by_manifest(const EnvironmentName& environment, const std::string& certificate);

  void add_credential(const CredentialRecord& credential);
  std::optional<CredentialRecord> credential(const CredentialName& name);
  std::vector<CredentialRecord> credentials();
  // False if its quota is used up.
  bool use_credential(const CredentialName& name);
  void revoke_credential(const CredentialName& name);

 private:
  class DeviceLookUp;

  void count_change();

  Database database_;
  std::unique_ptr<DeviceLookUp> device_look_up_;
};

}  // namespace fleetroot::gateway
