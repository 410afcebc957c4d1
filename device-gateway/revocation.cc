#include "device-gateway/revocation.h"

#include <fmt/format.h>

#include "device-gateway/issuers.h"

namespace fleetroot::gateway {
namespace {

[[noreturn]] void reject(const CertificateRevocationList& list, std::string_view why, std::string hint) {
  throw Error(ErrorCode::certificate_rejected,
              fmt::format("the revocation list {} of {} {}", list.number(), list.issuer(), why),
              std::move(hint));
}

// It would stand in the way of those that the CA publishes once its clock is right: their numbers are lower.
void refuse_if_from_the_future(const CertificateRevocationList& list, Time now) {
  if (list.this_update() - now <= kSmallSkew) return;
  throw Error(
      ErrorCode::clock,
      fmt::format("the revocation list {} of {} is from {}, and this machine's clock says {}", list.number(),
                  list.issuer(), format_time(list.this_update()), format_time(now)),
      "set the clock right, here or at the CA; if it was the CA's, take the list that it publishes then");
}

}  // namespace

bool import_list(Registry& registry, const EnvironmentName& environment,
                 const CertificateRevocationList& list, const std::vector<Certificate>& issuers, Time now,
                 Commitment commitment) {
  WriteTransaction transaction = registry.write();
  std::optional<Certificate> issuer =
      find_issuer(registry, environment, issuers, list.authority_key_identifier(), now);
  if (!issuer) {
    reject(list, "is of no CA that this environment knows",
           "give the issuing CA's certificate with --ca-certificate; it must be under a Fleet Root of this "
           "environment");
  }
  list.verify(*issuer);
  refuse_if_from_the_future(list, now);
  bool is_delta = list.delta_base().has_value();
  bool has_base = false;
  for (const ListRecord& present : registry.lists(environment)) {
    if (present.issuer_key != list.authority_key_identifier()) continue;
    auto number = static_cast<std::int64_t>(list.number());
    if (!present.is_delta && is_delta)
      has_base = present.number >= static_cast<std::int64_t>(*list.delta_base());
    if (present.is_delta != is_delta) continue;
    if (present.der == list.der()) return false;
    if (number <= present.number) {
      reject(list, fmt::format("is not newer than number {}, which is here", present.number),
             "fetch the newest list from the CA");
    }
  }
  if (is_delta && !has_base) {
    reject(list, fmt::format("is a delta to number {}, which is not here", *list.delta_base()),
           "import the complete list first");
  }
  registry.put_list(environment, {.issuer_key = list.authority_key_identifier(),
                                  .is_delta = is_delta,
                                  .number = static_cast<std::int64_t>(list.number()),
                                  .der = list.der()});
  if (commitment == Commitment::for_real) transaction.commit();
  return true;
}

}  // namespace fleetroot::gateway
