// What a station carries to its CA: requests of one order, and what became of the certificates that it got
// before. JSON inside of a signed document (docs/formats.md, "Media bundles").
#pragma once

#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/names.h"
#include "lib/x509/certificate.h"
#include "lib/x509/device_id.h"
#include "lib/x509/serial_number.h"

namespace fleetroot::media {

// Requests, and receipts, of one bundle.
inline constexpr std::size_t kMaximumItems = 10'000;
// What the first bundle of a station follows.
inline const std::string kNoBundle(64, '0');

// What ends the names of files on media. A response is named as its request is, up to here.
inline constexpr const char* kRequestSuffix = ".request";
inline constexpr const char* kResponseSuffix = ".response";

struct CarriedRequest {
  DeviceId device_id;
  Bytes message;  // a p10cr, protected by the station's key
};

// certConf by other means: the certificate sits in the hardware, or could not be used.
struct Receipt {
  DeviceId device_id;
  SerialNumber serial;
  bool accepted = false;
};

struct RequestBundle {
  std::string ca;  // fingerprint of the CA's certificate that the station has pinned
  StationName station;
  long long sequence = 0;  // 1, 2, 3 …
  std::string previous;    // SHA-256 of the JSON of the bundle before
  OrderId order;
  Time created;
  Time expires;
  std::vector<CarriedRequest> requests;
  std::vector<Receipt> receipts;

  std::string to_json() const;
  // Error(bundle_damaged) for whatever to_json() could not mean: another format, a member too many, missing
  // or given twice, a value out of its bounds, a device with two requests.
  static RequestBundle parse(const std::string& json);
};

}  // namespace fleetroot::media
