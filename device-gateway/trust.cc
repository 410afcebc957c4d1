#include "device-gateway/trust.h"

#include <openssl/err.h>

#include <algorithm>

#include "lib/x509/openssl_context.h"

namespace fleetroot::gateway {
namespace {

// 112 bits of security: no SHA-1, no RSA below 2048.
constexpr int kSecurityLevel = 2;
// A device, three CAs, a root: more than anybody has.
constexpr std::size_t kMaximumPresented = 5;

// Whether one of this name was presented with a key that OpenSSL cannot read: it takes it for no issuer then.
bool has_unreadable(const STACK_OF(X509) * presented, const X509_NAME* name) {
  for (int i = 0; i < sk_X509_num(presented); ++i) {
    const X509* certificate = sk_X509_value(presented, i);
    bool is_named = X509_NAME_cmp(X509_get_subject_name(certificate), name) == 0;
    if (is_named && X509_get0_pubkey(certificate) == nullptr) return true;
  }
  return false;
}

}  // namespace

Trust::Trust(std::vector<Certificate> roots, std::vector<CertificateRevocationList> lists)
    : roots_(std::move(roots)), store_(X509_STORE_new()) {
  for (const Certificate& root : roots_) X509_STORE_add_cert(store_.get(), root.x509());
  for (CertificateRevocationList& list : lists) {
    Lists& of_issuer = lists_[list.authority_key_identifier()];
    (list.delta_base() ? of_issuer.delta : of_issuer.complete) = std::move(list);
  }
}

std::variant<Path, Refusal> Trust::path_of(std::span<const Certificate> presented, Time now) const {
  if (presented.size() > kMaximumPresented) return Refusal::chain_too_long;
  X509StackPtr others = to_stack({presented.begin() + 1, presented.end()});
  X509StoreCtxPtr context(X509_STORE_CTX_new_ex(openssl_context(), nullptr));
  if (X509_STORE_CTX_init(context.get(), store_.get(), presented.front().x509(), others.get()) != 1) {
    throw openssl_error(ErrorCode::internal, "cannot start checking a certificate", "report this");
  }
  X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(parameters, now.time_since_epoch().count());
  X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT | X509_V_FLAG_PARTIAL_CHAIN);
  X509_VERIFY_PARAM_set_auth_level(parameters, kSecurityLevel);
  X509_VERIFY_PARAM_set_purpose(parameters, X509_PURPOSE_SSL_CLIENT);
  X509_VERIFY_PARAM_set_trust(parameters, X509_TRUST_SSL_CLIENT);
  std::optional<Refusal> refusal;
  if (X509_verify_cert(context.get()) != 1) refusal = refusal_of(context.get());
  ERR_clear_error();
  if (refusal) return *refusal;
  Path path;
  STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(context.get());
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    X509* certificate = sk_X509_value(chain, i);
    X509_up_ref(certificate);
    path.emplace_back(X509Ptr(certificate));
  }
  return path;
}

bool Trust::is_reached_by(std::span<const Certificate> presented, Time now) const {
  if (presented.size() > kMaximumPresented) return false;
  // Asked of everybody who is connected, and hardly ever so.
  bool is_near = std::any_of(presented.begin(), presented.end(), [this](const Certificate& certificate) {
    return has_root_named(X509_get_issuer_name(certificate.x509()));
  });
  if (!is_near) return false;
  std::vector<Certificate> way{presented.front()};
  return is_reached_from(way, presented, now);
}

bool Trust::is_reached_from(std::vector<Certificate>& way, std::span<const Certificate> presented,
                            Time now) const {
  bool goes_on = false;
  for (const Certificate& next : presented) {
    bool is_new = std::find(way.begin(), way.end(), next) == way.end();
    if (!is_new || X509_check_issued(next.x509(), way.back().x509()) != X509_V_OK) continue;
    goes_on = true;
    way.push_back(next);
    bool is_reached = is_reached_from(way, presented, now);
    way.pop_back();
    if (is_reached) return true;
  }
  return !goes_on && std::holds_alternative<Path>(path_of(way, now));
}

Refusal Trust::refusal_of(const X509_STORE_CTX* context) const {
  const bool is_device = X509_STORE_CTX_get_error_depth(context) == 0;
  switch (X509_STORE_CTX_get_error(context)) {
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return Refusal::self_signed;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: {
      STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(context);
      const X509* top = sk_X509_value(chain, sk_X509_num(chain) - 1);
      if (has_unreadable(X509_STORE_CTX_get0_untrusted(context), X509_get_issuer_name(top)))
        return Refusal::key_kind_not_taken;
      if (has_root_named(X509_get_issuer_name(top))) return Refusal::false_root;
      return sk_X509_num(chain) == 1 ? Refusal::missing_intermediate : Refusal::unknown_root;
    }
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return Refusal::bad_signature;
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return is_device ? Refusal::expired : Refusal::ca_expired;
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return is_device ? Refusal::not_yet_valid : Refusal::ca_not_yet_valid;
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
      return Refusal::chain_too_long;
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
      return Refusal::path_too_long;
    case X509_V_ERR_PERMITTED_VIOLATION:
    case X509_V_ERR_EXCLUDED_VIOLATION:
    case X509_V_ERR_SUBTREE_MINMAX:
    case X509_V_ERR_UNSUPPORTED_CONSTRAINT_TYPE:
    case X509_V_ERR_UNSUPPORTED_CONSTRAINT_SYNTAX:
    case X509_V_ERR_UNSUPPORTED_NAME_SYNTAX:
      return Refusal::name_constraints;
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
      return Refusal::not_a_ca;
    case X509_V_ERR_EE_KEY_TOO_SMALL: {
      // OpenSSL says so of a key that it cannot read, too.
      bool is_read = X509_get0_pubkey(X509_STORE_CTX_get_current_cert(context)) != nullptr;
      return is_read ? Refusal::weak_key : Refusal::key_kind_not_taken;
    }
    case X509_V_ERR_CA_KEY_TOO_SMALL:
      return Refusal::weak_ca_key;
    case X509_V_ERR_CA_MD_TOO_WEAK:
      return Refusal::weak_digest;
    case X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION:
      return Refusal::unknown_critical_extension;
    case X509_V_ERR_INVALID_PURPOSE:
      return is_device ? Refusal::not_for_clients : Refusal::ca_not_for_clients;
    default:
      return Refusal::malformed_chain;
  }
}

bool Trust::has_root_named(const X509_NAME* name) const {
  for (const Certificate& root : roots_) {
    if (X509_NAME_cmp(X509_get_subject_name(root.x509()), name) == 0) return true;
  }
  return false;
}

// A delta list tells what changed since the complete one that it was made for, or any newer one (RFC 5280
// section 5.2.4).
std::optional<Revocation> Trust::Lists::find(const SerialNumber& serial) const {
  bool delta_counts = delta && (!complete || delta->number() > complete->number());
  if (delta_counts) {
    std::optional<Revocation> change = delta->find(serial);
    if (change && change->reason == RevocationReason::remove_from_crl) return std::nullopt;
    if (change) return change;
  }
  return complete ? complete->find(serial) : std::nullopt;
}

std::optional<Refusal> Trust::revocation_on(const Path& path) const {
  for (std::size_t depth = 0; depth + 1 < path.size(); ++depth) {
    auto lists = lists_.find(path[depth + 1].subject_key_identifier());
    if (lists == lists_.end()) continue;
    std::optional<Revocation> revocation = lists->second.find(path[depth].serial());
    if (!revocation) continue;
    if (depth > 0) return Refusal::ca_revoked;
    return revocation->reason == RevocationReason::superseded ? Refusal::superseded : Refusal::revoked;
  }
  return std::nullopt;
}

}  // namespace fleetroot::gateway
