#include "factory-ca/carried_request.h"

#include <fmt/format.h>

#include "lib/cmp/responder.h"

namespace fleetroot::ca {
namespace {

Error not_from(const ReceivedBundle& bundle) {
  return {ErrorCode::not_authorised,
          fmt::format("the request in the bundle is not signed with the key of station {}",
                      bundle.station.subject),
          "send it in a bundle of the station that made it"};
}

void refuse_unless_for(const DeviceId& device_id, const CertificateRequest& request) {
  if (request.common_name() == device_id.text()) return;
  throw Error(ErrorCode::bad_request,
              fmt::format("the request of device {} in the bundle is for {}", device_id.text(),
                          request.common_name()),
              "find out who made this bundle, and have it exported again");
}

// What the responder, which authenticates the message, asks and hears.
class Carrier : public cmp::Authority {
 public:
  Carrier(const media::CarriedRequest& carried, const ReceivedBundle& bundle, Issuer& issuer)
      : carried_(carried), bundle_(bundle), issuer_(issuer) {}

  cmp::Sender authenticate(BytesView sender_key_id) override {
    if (to_hex(sender_key_id) != bundle_.station.key_id) throw not_from(bundle_);
    return {.name = bundle_.station.subject,
            .certificate = Certificate::from_der(bundle_.station.certificate)};
  }

  cmp::Issued issue(const cmp::Sender& sender, const CertificateRequest& request,
                    BytesView /*transaction_id*/) override {
    try {
      refuse_unless_for(carried_.device_id, request);
      certificate =
          issuer_.issue({.sender = sender.name, .request = request, .order = bundle_.content.order});
    } catch (const Error& error) {
      refusal = error;
      throw;
    }
    return {.certificate = *certificate, .chain = {}};
  }

  void confirm(const cmp::Sender&, const Certificate&, bool) override {}

  std::optional<Certificate> certificate;
  std::optional<Error> refusal;

 private:
  const media::CarriedRequest& carried_;
  const ReceivedBundle& bundle_;
  Issuer& issuer_;
};

}  // namespace

Certificate issue_carried(const media::CarriedRequest& request, const ReceivedBundle& bundle,
                          const Signer& signer, const Certificate& issuing, Issuer& issuer) {
  Carrier carrier(request, bundle, issuer);
  cmp::Responder responder({.certificate = issuing, .key = signer.key}, carrier);
  responder.respond(request.message);
  if (carrier.certificate) return *carrier.certificate;
  throw carrier.refusal.value_or(not_from(bundle));
}

}  // namespace fleetroot::ca
