#include "device-gateway/device_maker.h"

#include "lib/base/secret.h"
#include "lib/base/strict_json.h"

namespace fleetroot::gateway {
namespace {

using nlohmann::ordered_json;

constexpr std::int64_t kMaximumDays = 36500;

// Nothing unless it is exactly that.
std::optional<ordered_json> parse_members(BytesView body) {
  try {
    ordered_json wish = parse_strict_json(as_text(body));
    bool is_wish = wish.is_object() && wish.size() == 2 && wish.contains("deviceId") &&
                   wish["deviceId"].is_string() && wish.contains("ttl");
    return is_wish ? std::optional(std::move(wish)) : std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

// Nothing unless it is a number of days.
std::optional<std::int64_t> days_of(const ordered_json& ttl) {
  if (ttl.is_number_integer()) return ttl.get<std::int64_t>();
  if (!ttl.is_string()) return std::nullopt;
  const std::string& text = ttl.get_ref<const std::string&>();
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos) {
    return std::nullopt;
  }
  return std::stoll(text);
}

}  // namespace

std::variant<DeviceWish, Refusal> parse_wish(BytesView body) {
  std::optional<ordered_json> wish = parse_members(body);
  if (!wish) return Refusal::bad_json;
  std::optional<std::int64_t> days = days_of(wish->at("ttl"));
  if (!days || *days < 1) return Refusal::bad_json;
  if (*days > kMaximumDays) return Refusal::ttl_too_long;
  try {
    return DeviceWish{DeviceId::parse(wish->at("deviceId").get<std::string>()), std::chrono::days(*days)};
  } catch (const Error&) {
    return Refusal::invalid_device_id;
  }
}

std::variant<Bytes, Refusal> DeviceMaker::make(const DeviceWish& wish, const CredentialName& name,
                                               Registry& registry, Time now) {
  std::lock_guard lock(mutex_);
  WriteTransaction transaction = registry.write();
  std::optional<CredentialRecord> credential = registry.credential(name);
  if (!credential || credential->is_revoked) return Refusal::shared_credentials_revoked;
  if (now >= credential->expires) return Refusal::shared_credentials_expired;
  if (registry.device(environment_, wish.id)) return Refusal::device_already_registered;
  if (!registry.use_credential(name)) return Refusal::shared_credentials_used_up;
  EvpPkeyPtr key = make_device_key();
  Certificate certificate = make_device_certificate(wish.id, key.get(), device_root_, now, wish.ttl);
  Bytes bundle = to_pkcs12(wish.id.text(), key.get(), certificate, gateway_root_);
  Wiping wiping(bundle);
  registry.add_device(environment_, {.id = wish.id,
                                     .key = key_digest(certificate),
                                     .certificate = certificate.fingerprint(),
                                     .tbs = tbs_digest(certificate),
                                     .state = DeviceState::admitted,
                                     .origin = DeviceOrigin::provisioned,
                                     .joined_at = format_time(now)});
  transaction.commit();
  return bundle;
}

}  // namespace fleetroot::gateway
