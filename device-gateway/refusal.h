// Why somebody is not let in, as log, metrics and tests name it.
#pragma once

#include <string_view>

namespace fleetroot::gateway {

enum class Refusal {
  // before anything was presented
  no_certificate,
  handshake_failed,
  handshake_timeout,
  tls_too_old,
  // the path to a Fleet Root (RFC 5280 section 6)
  chain_too_long,
  self_signed,
  unknown_root,
  false_root,  // one that only has the name of ours
  missing_intermediate,
  other_environment,
  bad_signature,
  expired,
  not_yet_valid,
  ca_expired,
  ca_not_yet_valid,
  path_too_long,
  name_constraints,
  not_a_ca,
  weak_key,
  weak_ca_key,
  key_kind_not_taken,
  weak_digest,
  unknown_critical_extension,
  ca_not_for_clients,
  bad_serial_number,  // no revocation list could name it
  malformed_chain,
  // what the certificate says
  ca_certificate,
  not_for_clients,
  not_for_signatures,
  no_common_name,
  several_common_names,
  nul_in_common_name,
  common_name_too_long,
  invalid_device_id,
  // what became of it
  revoked,
  superseded,
  ca_revoked,
  blocked,
  device_id_taken,  // alarm: the device is known with another key
  key_taken,        // alarm: the key is known as another device
  not_on_manifest,
  // shared credentials
  shared_credentials_not_allowed,
  shared_credentials_revoked,
  shared_credentials_expired,
  shared_credentials_used_up,
  only_for_provisioning,
  not_a_provisioning_key,
  device_already_registered,
  ttl_too_long,
  // requests
  bad_json,
  bad_request,
  body_too_large,
  request_timeout,
  not_found,
  upstream_unreachable,
  // ours: registry or token cannot be asked
  out_of_order,
};

// "device_id_taken"
std::string_view name_of(Refusal refusal);
// One sentence for the log.
std::string_view words_of(Refusal refusal);
// Whether somebody should be woken: one device exists twice.
bool is_alarm(Refusal refusal);

}  // namespace fleetroot::gateway
