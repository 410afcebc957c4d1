#include "device-gateway/refusal.h"

#include <array>
#include <exception>

namespace fleetroot::gateway {
namespace {

struct Row {
  Refusal refusal;
  std::string_view name;
  std::string_view words;
  bool is_alarm = false;
};

constexpr std::array kTable{
    Row{Refusal::no_certificate, "no_certificate", "the client presented no certificate"},
    Row{Refusal::handshake_failed, "handshake_failed", "the TLS handshake failed"},
    Row{Refusal::handshake_timeout, "handshake_timeout",
        "the client did not finish the TLS handshake in time"},
    Row{Refusal::tls_too_old, "tls_too_old", "the client speaks neither TLS 1.3 nor 1.2"},
    Row{Refusal::chain_too_long, "chain_too_long", "more certificates were presented than a chain may have"},
    Row{Refusal::self_signed, "self_signed", "the certificate is signed by itself"},
    Row{Refusal::unknown_root, "unknown_root", "the chain ends at no Fleet Root of this environment"},
    Row{Refusal::false_root, "false_root", "the chain ends at a root that only has the name of a Fleet Root"},
    Row{Refusal::missing_intermediate, "missing_intermediate",
        "the certificate's issuer was not presented and is no Fleet Root"},
    Row{Refusal::other_environment, "other_environment", "the device belongs to another environment"},
    Row{Refusal::bad_signature, "bad_signature", "a signature in the chain is wrong"},
    Row{Refusal::expired, "expired", "the certificate has expired"},
    Row{Refusal::not_yet_valid, "not_yet_valid", "the certificate is not valid yet"},
    Row{Refusal::ca_expired, "ca_expired", "a CA's certificate in the chain has expired"},
    Row{Refusal::ca_not_yet_valid, "ca_not_yet_valid", "a CA's certificate in the chain is not valid yet"},
    Row{Refusal::path_too_long, "path_too_long", "a CA allows fewer CAs below it than there are"},
    Row{Refusal::name_constraints, "name_constraints", "a CA may not certify this name"},
    Row{Refusal::not_a_ca, "not_a_ca", "an issuer in the chain is not a CA that may sign certificates"},
    Row{Refusal::weak_key, "weak_key", "the device's key is too weak"},
    Row{Refusal::weak_ca_key, "weak_ca_key", "a CA's key in the chain is too weak"},
    Row{Refusal::key_kind_not_taken, "key_kind_not_taken",
        "a key in the chain is of a kind that is not taken here: P-256, P-384, Ed25519 and RSA are"},
    Row{Refusal::weak_digest, "weak_digest", "a certificate in the chain is signed with a weak digest"},
    Row{Refusal::unknown_critical_extension, "unknown_critical_extension",
        "a certificate has a critical extension that is not known here"},
    Row{Refusal::ca_not_for_clients, "ca_not_for_clients", "a CA in the chain may not issue for TLS clients"},
    Row{Refusal::bad_serial_number, "bad_serial_number",
        "the serial number of a certificate in the chain is not positive: no revocation list could name it"},
    Row{Refusal::malformed_chain, "malformed_chain", "the chain breaks a rule of RFC 5280"},
    Row{Refusal::ca_certificate, "ca_certificate", "a CA's certificate is no device's"},
    Row{Refusal::not_for_clients, "not_for_clients", "the certificate is not for TLS clients (clientAuth)"},
    Row{Refusal::not_for_signatures, "not_for_signatures", "the certificate's key may not sign"},
    Row{Refusal::no_common_name, "no_common_name", "the certificate has no common name"},
    Row{Refusal::several_common_names, "several_common_names", "the certificate has several common names"},
    Row{Refusal::nul_in_common_name, "nul_in_common_name", "the common name has a NUL in it"},
    Row{Refusal::common_name_too_long, "common_name_too_long", "the common name has more than 64 characters"},
    Row{Refusal::invalid_device_id, "invalid_device_id", "the name is no device ID"},
    Row{Refusal::revoked, "revoked", "the certificate is revoked"},
    Row{Refusal::superseded, "superseded", "the certificate, or its key, was superseded"},
    Row{Refusal::ca_revoked, "ca_revoked", "a CA in the chain is revoked"},
    Row{Refusal::blocked, "blocked", "the device is blocked"},
    Row{Refusal::device_id_taken, "device_id_taken", "the device is known with another key", true},
    Row{Refusal::key_taken, "key_taken", "the key is known as another device's", true},
    Row{Refusal::not_on_manifest, "not_on_manifest", "no manifest names this device with this key"},
    Row{Refusal::shared_credentials_not_allowed, "shared_credentials_not_allowed",
        "this environment takes no shared credentials"},
    Row{Refusal::shared_credentials_revoked, "shared_credentials_revoked", "the provisioning key is revoked"},
    Row{Refusal::shared_credentials_expired, "shared_credentials_expired",
        "the provisioning key has expired"},
    Row{Refusal::shared_credentials_used_up, "shared_credentials_used_up",
        "the provisioning key has made as many devices as it may"},
    Row{Refusal::only_for_provisioning, "only_for_provisioning",
        "a provisioning key is for POST /devices and nothing else"},
    Row{Refusal::not_a_provisioning_key, "not_a_provisioning_key",
        "only a provisioning key may register devices"},
    Row{Refusal::device_already_registered, "device_already_registered", "the device ID is taken"},
    Row{Refusal::ttl_too_long, "ttl_too_long", "a device's certificate lasts 36500 days at most"},
    Row{Refusal::bad_json, "bad_json", "the body is not the JSON that was expected"},
    Row{Refusal::bad_request, "bad_request", "the request cannot be understood"},
    Row{Refusal::body_too_large, "body_too_large", "the body is too large"},
    Row{Refusal::request_timeout, "request_timeout", "the client did not finish its request in time"},
    Row{Refusal::not_found, "not_found", "there is nothing at this path"},
    Row{Refusal::upstream_unreachable, "upstream_unreachable",
        "the upstream service does not answer, or not as it should"},
    Row{Refusal::out_of_order, "out_of_order", "the gateway's registry or token cannot be asked"},
};

const Row& row_of(Refusal refusal) {
  for (const Row& row : kTable) {
    if (row.refusal == refusal) return row;
  }
  std::terminate();  // a refusal without a row does not pass the unit test
}

}  // namespace

std::string_view name_of(Refusal refusal) {
  return row_of(refusal).name;
}

std::string_view words_of(Refusal refusal) {
  return row_of(refusal).words;
}

bool is_alarm(Refusal refusal) {
  return row_of(refusal).is_alarm;
}

}  // namespace fleetroot::gateway
