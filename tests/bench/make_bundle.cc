// A request bundle of as many devices as wanted, with keys in memory: what scripts/bench --ca gives to the
// CA.
//
//   make_bundle STATION.pem STATION.key ISSUING-CA.pem ORDER NUMBER OUT
#include <openssl/pem.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "lib/base/files.h"
#include "lib/base/names.h"
#include "lib/cmp/client.h"
#include "lib/media/request_bundle.h"
#include "lib/media/signed_document.h"

namespace fleetroot {
namespace {

EvpPkeyPtr read_key(const char* path) {
  BioPtr file(BIO_new_file(path, "r"));
  EvpPkeyPtr key(PEM_read_bio_PrivateKey(file.get(), nullptr, nullptr, nullptr));
  if (!key) throw openssl_error(ErrorCode::usage, "this is no private key", "give a PEM file");
  return key;
}

int run(char** arguments) {
  Certificate station = Certificate::from_pem(read_file(arguments[1]));
  EvpPkeyPtr key = read_key(arguments[2]);
  Certificate ca = Certificate::from_pem(read_file(arguments[3]));
  Time now = SystemClock().now();
  media::RequestBundle bundle{.ca = ca.fingerprint(),
                              .station = StationName::parse(station.common_name().value_or("")),
                              .sequence = 1,
                              .previous = media::kNoBundle,
                              .order = OrderId::parse(arguments[4]),
                              .created = now,
                              .expires = now + std::chrono::hours(24),
                              .requests = {},
                              .receipts = {}};
  for (int i = 0; i < std::atoi(arguments[5]); ++i) {
    DeviceId device = DeviceId::parse("BENCH-" + std::to_string(i));
    EvpPkeyPtr device_key(EVP_EC_gen("P-256"));
    CertificateRequest request =
        CertificateRequest::create(device.text(), PublicKey::from_evp(device_key.get()), device_key.get());
    bundle.requests.push_back({.device_id = device,
                               .message = cmp::request_message(
                                   {.certificate = station, .chain = {}, .key = key.get()}, ca, request)});
  }
  Bytes document = media::sign_document(as_bytes(bundle.to_json()), station, key.get());
  write_file(arguments[6], as_text(document));
  std::printf("%zu requests, %.1f MiB\n", bundle.requests.size(),
              static_cast<double>(document.size()) / (1 << 20));
  return 0;
}

}  // namespace
}  // namespace fleetroot

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr, "usage: make_bundle STATION.pem STATION.key ISSUING-CA.pem ORDER NUMBER OUT\n");
    return 64;
  }
  try {
    return fleetroot::run(argv);
  } catch (const fleetroot::Error& error) {
    std::fprintf(stderr, "make_bundle: %s\n", error.what());
    return 1;
  }
}
