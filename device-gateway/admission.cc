#include "device-gateway/admission.h"

#include <openssl/objects.h>

#include <algorithm>

namespace fleetroot::gateway {
namespace {

bool leads_elsewhere(Refusal refusal) {
  return refusal == Refusal::unknown_root || refusal == Refusal::false_root ||
         refusal == Refusal::missing_intermediate;
}

// 4
bool leads_to_another(const EnvironmentName& environment, const World& world,
                      std::span<const Certificate> presented, Time now) {
  return std::any_of(world.trust.begin(), world.trust.end(), [&](const auto& other) {
    return other.first != environment && other.second.is_reached_by(presented, now);
  });
}

// 3 and 4
std::variant<Path, Refusal> path_within(const EnvironmentName& environment, const World& world,
                                        std::span<const Certificate> presented, Time now) {
  std::variant<Path, Refusal> path = world.trust.at(environment).path_of(presented, now);
  const Refusal* refusal = std::get_if<Refusal>(&path);
  // A fault that has to be mended first is told first.
  if (refusal != nullptr && !leads_elsewhere(*refusal)) return path;
  if (leads_to_another(environment, world, presented, now)) return Refusal::other_environment;
  return path;
}

// 5
std::optional<Refusal> refusal_of_usage(const Certificate& certificate) {
  if (certificate.is_ca()) return Refusal::ca_certificate;
  if (!certificate.has_extended_key_usage(NID_client_auth)) return Refusal::not_for_clients;
  if ((X509_get_key_usage(certificate.x509()) & KU_DIGITAL_SIGNATURE) == 0)
    return Refusal::not_for_signatures;
  return std::nullopt;
}

bool can_be_named(const Certificate& certificate) {
  try {
    (void)certificate.serial();
    return true;
  } catch (const Error&) {
    return false;
  }
}

// 7
std::optional<Refusal> revocation_on(const Path& path, const Trust& trust) {
  if (!std::all_of(path.begin(), path.end() - 1, can_be_named)) return Refusal::bad_serial_number;
  return trust.revocation_on(path);
}

// As in the handshake, where the root's end counts too.
std::optional<Refusal> expiry_on(const Path& path, Time now) {
  for (const Certificate& certificate : path) {
    if (now <= certificate.not_after()) continue;
    return certificate == path.front() ? Refusal::expired : Refusal::ca_expired;
  }
  return std::nullopt;
}

// Everything but the registry's word.
std::variant<AdmittedDevice, Refusal> identify(const EnvironmentName& environment, const World& world,
                                               std::span<const Certificate> presented, Time now) {
  std::variant<Path, Refusal> path = path_within(environment, world, presented, now);  // 3, 4
  if (const Refusal* refusal = std::get_if<Refusal>(&path)) return *refusal;
  const Certificate& certificate = presented.front();
  if (std::optional<Refusal> refusal = refusal_of_usage(certificate)) return *refusal;  // 5
  std::variant<DeviceId, Refusal> id = device_id_of(certificate);                       // 6
  if (const Refusal* refusal = std::get_if<Refusal>(&id)) return *refusal;
  std::optional<Refusal> revocation = revocation_on(std::get<Path>(path), world.trust.at(environment));  // 7
  if (revocation) return *revocation;
  return AdmittedDevice{.id = std::get<DeviceId>(id),
                        .key = key_digest(certificate),
                        .certificate = certificate.fingerprint(),
                        .tbs = tbs_digest(certificate),
                        .path = std::get<Path>(std::move(path)),
                        .presented = {presented.begin(), presented.end()}};
}

}  // namespace

World World::read(Registry& registry, const std::vector<EnvironmentName>& environments) {
  World world;
  // First: a change in the middle is seen as a change afterwards.
  world.generation = registry.generation();
  std::map<EnvironmentName, std::vector<Certificate>, ByText> roots;
  for (RootRecord& root : registry.roots()) roots[root.environment].push_back(std::move(root.certificate));
  for (CredentialRecord& credential : registry.credentials()) {
    std::string certificate = credential.certificate;
    world.credentials.emplace(std::move(certificate), std::move(credential));
  }
  for (const EnvironmentName& environment : environments) {
    std::vector<CertificateRevocationList> lists;
    for (const ListRecord& list : registry.lists(environment)) {
      lists.push_back(CertificateRevocationList::from_der(list.der));
    }
    world.trust.emplace(environment, Trust(std::move(roots[environment]), std::move(lists)));
  }
  return world;
}

std::string_view name_of(Standing standing) {
  switch (standing) {
    case Standing::admitted:
      return "admitted";
    case Standing::renewed:
      return "renewed";
    case Standing::joins:
      return "joined";
    case Standing::reworked:
      return "reworked";
  }
  return "";
}

std::variant<DeviceId, Refusal> device_id_of(const Certificate& certificate) {
  const X509_NAME* name = X509_get_subject_name(certificate.x509());
  int position = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (position < 0) return Refusal::no_common_name;
  if (X509_NAME_get_index_by_NID(name, NID_commonName, position) >= 0) return Refusal::several_common_names;
  unsigned char* utf8 = nullptr;
  int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, position)));
  if (size < 0) {
    take_openssl_errors();
    return Refusal::invalid_device_id;
  }
  std::string text(reinterpret_cast<char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  if (text.empty()) return Refusal::no_common_name;
  if (text.find('\0') != std::string::npos) return Refusal::nul_in_common_name;
  constexpr std::size_t kMaximum = 64;  // ub-common-name, RFC 5280 appendix A.1
  if (text.size() > kMaximum) return Refusal::common_name_too_long;
  try {
    return DeviceId::parse(text);
  } catch (const Error&) {
    return Refusal::invalid_device_id;
  }
}

Decision Admission::decide(std::span<const Certificate> presented, const World& world, Registry& registry,
                           Time now) const {
  if (presented.empty()) return Refusal::no_certificate;  // 1
  std::string certificate = presented.front().fingerprint();
  auto credential = world.credentials.find(certificate);  // 2
  if (credential != world.credentials.end()) {
    std::optional<Refusal> refusal = refusal_of(credential->second, now);
    if (refusal) return *refusal;
    return AdmittedProvisioner{.name = credential->second.name, .certificate = certificate};
  }
  std::variant<AdmittedDevice, Refusal> identified = identify(environment_, world, presented, now);  // 3 to 7
  if (const Refusal* refusal = std::get_if<Refusal>(&identified)) return *refusal;
  AdmittedDevice& device = std::get<AdmittedDevice>(identified);
  std::variant<Standing, Refusal> standing = standing_of(device, registry);  // 8 to 10
  if (const Refusal* refusal = std::get_if<Refusal>(&standing)) return *refusal;
  device.standing = std::get<Standing>(standing);
  return std::move(device);
}

std::optional<Refusal> Admission::refusal_of(const CredentialRecord& credential, Time now) const {
  if (!rules_.allows_shared_credentials || rules_.is_rehearsal) {
    return Refusal::shared_credentials_not_allowed;
  }
  if (credential.environment != environment_) return Refusal::other_environment;
  if (credential.is_revoked) return Refusal::shared_credentials_revoked;
  if (now >= credential.expires) return Refusal::shared_credentials_expired;
  return std::nullopt;
}

std::variant<Standing, Refusal> Admission::standing_of(const AdmittedDevice& device,
                                                       Registry& registry) const {
  const DeviceId& id = device.id;
  const std::string& key = device.key;
  std::optional<DeviceRecord> known = registry.device(environment_, id);
  bool is_known_with_key = known && known->key == key;
  if (known && known->state == DeviceState::blocked) return Refusal::blocked;
  std::optional<ManifestDevice> delivered = registry.on_manifest(environment_, id);
  bool is_delivered = delivered && delivered->key == key;
  if (!is_known_with_key && registry.is_superseded(key)) return Refusal::superseded;
  // Delivered with another key: this one counts no more, whether or not the other has come yet.
  if (delivered && !is_delivered && is_revoked_by_manifest(device, registry)) return Refusal::superseded;
  if (!is_known_with_key && registry.device_with_key(key)) return Refusal::key_taken;
  if (known && !is_known_with_key && !(is_delivered && delivered->is_rework)) return Refusal::device_id_taken;
  // A device that was made here, from shared credentials, never saw a factory.
  bool was_made_here = is_known_with_key && known->origin == DeviceOrigin::provisioned;
  if (rules_.is_strict && !is_delivered && !was_made_here) return Refusal::not_on_manifest;
  if (!known) return Standing::joins;
  if (!is_known_with_key) return Standing::reworked;
  bool is_same = known->certificate == device.certificate || known->tbs == device.tbs;
  return is_same ? Standing::admitted : Standing::renewed;
}

bool Admission::is_revoked_by_manifest(const AdmittedDevice& device, Registry& registry) const {
  return registry.is_revoked_by_manifest(environment_, device.id, device.key) ||
         registry.was_revoked_by_manifest(environment_, device.certificate);
}

std::optional<Refusal> Admission::enter(const AdmittedDevice& device, Registry& registry, Time now) const {
  if (rules_.is_rehearsal || device.standing == Standing::admitted) return std::nullopt;
  WriteTransaction transaction = registry.write();
  std::variant<Standing, Refusal> standing = standing_of(device, registry);
  if (const Refusal* refusal = std::get_if<Refusal>(&standing)) return *refusal;
  DeviceRecord record{.id = device.id,
                      .key = device.key,
                      .certificate = device.certificate,
                      .tbs = device.tbs,
                      .state = DeviceState::admitted,
                      .origin = DeviceOrigin::joined,
                      .joined_at = format_time(now)};
  switch (std::get<Standing>(standing)) {
    case Standing::joins:
      registry.add_device(environment_, record);
      break;
    case Standing::reworked:
      registry.replace_key(environment_, record, registry.device(environment_, device.id)->key);
      break;
    case Standing::admitted:
      break;
    case Standing::renewed:
      registry.note_certificate(environment_, record);
      break;
  }
  transaction.commit();
  return std::nullopt;
}

std::optional<Refusal> Admission::still(const AdmittedDevice& device, const World& world, Registry& registry,
                                        Time now) const {
  const Trust& trust = world.trust.at(environment_);
  const std::vector<Certificate>& roots = trust.roots();
  if (std::find(roots.begin(), roots.end(), device.path.back()) == roots.end()) return Refusal::unknown_root;
  if (std::optional<Refusal> expiry = expiry_on(device.path, now)) return expiry;
  if (leads_to_another(environment_, world, device.presented, now)) return Refusal::other_environment;
  if (std::optional<Refusal> revocation = revocation_on(device.path, trust)) return revocation;
  std::variant<Standing, Refusal> standing = standing_of(device, registry);
  const Refusal* refusal = std::get_if<Refusal>(&standing);
  return refusal != nullptr ? std::optional(*refusal) : std::nullopt;
}

std::optional<Refusal> Admission::still(const AdmittedProvisioner& provisioner, const World& world,
                                        Time now) const {
  auto credential = world.credentials.find(provisioner.certificate);
  if (credential == world.credentials.end()) return Refusal::shared_credentials_revoked;
  return refusal_of(credential->second, now);
}

}  // namespace fleetroot::gateway
