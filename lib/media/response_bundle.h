// What the CA sends back for one request bundle: for each of its requests the certificate, or why there is
// none. JSON inside of a signed document (docs/formats.md, "Media bundles").
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/names.h"
#include "lib/x509/certificate.h"
#include "lib/x509/device_id.h"

namespace fleetroot::media {

// Exactly one of certificate and refusal is there.
struct Answer {
  DeviceId device_id;
  std::string request;               // SHA-256 of the PKIMessage
  std::optional<Bytes> certificate;  // DER
  std::optional<Error> refusal;
};

struct ResponseBundle {
  std::string ca;  // fingerprint
  StationName station;
  long long sequence = 0;
  std::string request_bundle;  // SHA-256 of its JSON
  OrderId order;
  Time created;
  std::vector<Answer> answers;  // in the order of the requests
  std::vector<Certificate> chain;
  // DER of the CA's newest list; nothing where it has none.
  std::optional<Bytes> crl;
  // Where the CA's log stood.
  long long log_entries = 0;
  std::string log_digest;

  std::string to_json() const;
  // Error(bundle_damaged), as RequestBundle::parse.
  static ResponseBundle parse(const std::string& json);
};

}  // namespace fleetroot::media
