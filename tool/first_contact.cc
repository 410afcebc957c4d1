#include "tool/first_contact.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "lib/http/client.h"

namespace fleetroot::station {
namespace {

using nlohmann::json;

// The client's words, in those of who stands on the line.
[[noreturn]] void rethrow(const Gateway& gateway, const Error& error) {
  if (error.code() != ErrorCode::not_authorised) throw Error(error);
  throw Error(ErrorCode::not_authorised, fmt::format("the gateway {} refuses this device", gateway.url),
              "the gateway's log says why; is the Fleet Root added to this environment?", error.cause());
}

}  // namespace

std::string meet_gateway(const Gateway& gateway, const std::vector<Certificate>& chain, EVP_PKEY* key,
                         const DeviceId& device_id) {
  http::Response response;
  try {
    http::Client client(
        http::Url::parse(gateway.url),
        http::ClientTls{.roots = gateway.roots, .identity = http::TlsIdentity{.chain = chain, .key = key}});
    response = client.exchange({.path = "/whoami"},
                               std::chrono::steady_clock::now() + std::chrono::seconds(kGatewayPatience));
  } catch (const Error& error) {
    rethrow(gateway, error);
  }
  json answer = json::parse(response.body.begin(), response.body.end(), nullptr, false);
  if (response.status != 200 || !answer.is_object() || !answer.contains("device_id") ||
      !answer.contains("standing") || !answer["standing"].is_string()) {
    throw Error(ErrorCode::protocol, fmt::format("{} does not answer as a gateway does", gateway.url),
                "check the address and the port", fmt::format("status {}", response.status));
  }
  if (answer["device_id"] != device_id.text()) {
    throw Error(ErrorCode::not_authorised,
                fmt::format("the gateway takes {} for {}", device_id.text(), answer["device_id"].dump()),
                "hold this device, and ask whoever runs the gateway");
  }
  return answer["standing"].get<std::string>();
}

}  // namespace fleetroot::station
