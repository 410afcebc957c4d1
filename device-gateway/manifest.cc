#include "device-gateway/manifest.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "device-gateway/issuers.h"

namespace fleetroot::gateway {
namespace {

using nlohmann::json;

Error no_manifest(const std::string& why) {
  return {ErrorCode::bad_request, "this is no manifest: " + why,
          "take it as fleetroot-ca ledger export made it"};
}

// Error(bad_request) unless the member is there, and a string.
const std::string& text_of(const json& object, const char* member) {
  auto found = object.find(member);
  if (found == object.end() || !found->is_string())
    throw no_manifest(fmt::format("it has no \"{}\"", member));
  return found->get_ref<const std::string&>();
}

std::string digest_of(const json& object, const char* member) {
  const std::string& digest = text_of(object, member);
  constexpr std::size_t kDigits = 64;
  if (digest.size() != kDigits || !from_hex(digest)) {
    throw no_manifest(fmt::format("its \"{}\" is no digest", member));
  }
  return digest;
}

ManifestDevice device_of(const json& item) {
  if (!item.is_object()) throw no_manifest("one of its devices is none");
  const std::string& status = text_of(item, "status");
  if (status != "issued" && status != "revoked") throw no_manifest("a device's status is unknown");
  return {.id = DeviceId::parse(text_of(item, "device_id")),
          .key = digest_of(item, "public_key_sha256"),
          .certificate = digest_of(item, "certificate_sha256"),
          .issued_at = text_of(item, "issued_at"),
          .is_rework = !text_of(item, "supersedes").empty(),
          .is_revoked = status == "revoked"};
}

}  // namespace

Imported import_manifest(Registry& registry, const EnvironmentName& environment, BytesView document,
                         const std::vector<Certificate>& issuers, Time now, Commitment commitment) {
  std::optional<Certificate> signer;
  auto find_signer = [&](BytesView key_id) -> std::vector<Certificate> {
    signer = find_issuer(registry, environment, issuers, to_hex(key_id), now);
    if (signer) return {*signer};
    throw Error(ErrorCode::certificate_rejected, "the manifest is of no CA that this environment knows",
                "give the issuing CA's certificate with --ca-certificate; it must be under a Fleet Root of "
                "this environment");
  };
  std::string content = media::verify_document(document, find_signer, kMaximumManifestSize);
  json manifest = json::parse(content, nullptr, false);
  if (!manifest.is_object() || text_of(manifest, "format") != "fleetroot-manifest/1") {
    throw no_manifest("its format is another");
  }
  auto devices = manifest.find("devices");
  if (devices == manifest.end() || !devices->is_array()) throw no_manifest("it has no list of devices");
  ManifestRecord record{.ca = key_digest(*signer),
                        .order = text_of(manifest, "order"),
                        .created = text_of(manifest, "created"),
                        .digest = sha256_hex(as_bytes(content))};
  Imported imported{.is_new = false, .order = record.order, .certificates = devices->size()};
  std::vector<ManifestDevice> list;
  for (const json& item : *devices) list.push_back(device_of(item));
  // Not before: whoever joins meanwhile would have to wait.
  WriteTransaction transaction = registry.write();
  std::optional<ManifestRecord> present = registry.manifest(environment, record.ca, record.order);
  // What a build took over that knew CAs by their certificates.
  if (!present) present = registry.manifest(environment, signer->fingerprint(), record.order);
  if (present && present->digest == record.digest) return imported;
  if (present && record.created < present->created) {
    throw Error(ErrorCode::certificate_rejected,
                fmt::format("the manifest of {} is from {}, and one from {} is here", record.order,
                            record.created, present->created),
                "have the CA export the order again");
  }
  registry.put_manifest(environment, record, list);
  if (commitment == Commitment::for_real) transaction.commit();
  imported.is_new = true;
  return imported;
}

}  // namespace fleetroot::gateway
