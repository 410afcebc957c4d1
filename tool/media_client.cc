#include "tool/media_client.h"

namespace fleetroot::station {

bool MediaClient::enroll(const CertificateRequest& request, const cmp::Accept& accept, Time now) {
  DeviceId device_id = DeviceId::parse(request.common_name());
  auto message = [&] {
    Caller caller = caller_();
    return cmp::request_message(caller.station, caller.issuing.front(), request);
  };
  std::optional<Bytes> answer =
      queue_.ask(device_id, order_, request.public_key().fingerprint(), message, now);
  if (!answer) return false;
  Certificate certificate = Certificate::from_der(*answer);
  auto leave_receipt = [&](bool accepted) {
    queue_.leave_receipt(device_id, order_, certificate.serial(), accepted);
  };
  try {
    accept({.certificate = certificate, .chain = {}});
  } catch (const Error& error) {
    // Of a token that was pulled out nobody has to hear: the same command again writes it.
    if (error.code() == ErrorCode::certificate_rejected) leave_receipt(false);
    throw;
  }
  leave_receipt(true);
  return true;
}

}  // namespace fleetroot::station
