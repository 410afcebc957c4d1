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

}  // namespace

Task<Bytes> issue_carried(const media::CarriedRequest& carried, const ReceivedBundle& bundle,
                          Issuer& issuer) {
  cmp::Message message = cmp::parse_message(carried.message);
  if (to_hex(message.header.sender_key_id) != bundle.station.key_id) throw not_from(bundle);
  CertificateRequest request = cmp::signed_request(message, bundle.sender);
  refuse_unless_for(carried.device_id, request);
  Submission submission{.sender = bundle.sender.name,
                        .request = request,
                        .order = bundle.content.order,
                        .made = message.header.message_time,
                        .sender_key_id = message.header.sender_key_id};
  co_return co_await issuer.issue(submission);
}

}  // namespace fleetroot::ca
