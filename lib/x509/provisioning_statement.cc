#include "lib/x509/provisioning_statement.h"

#include <nlohmann/json.hpp>

#include "lib/base/error.h"

namespace fleetroot {
namespace {

constexpr std::size_t kMaximumSize = 4096;
constexpr std::size_t kMembers = 13;

}  // namespace

std::string ProvisioningStatement::to_json() const {
  // nlohmann's objects are sorted by key, and dump() without an indent adds no white space: canonical as it
  // is.
  return nlohmann::json{{"format", "fleetroot-statement/1"},
                        {"order", order.text()},
                        {"station", station.text()},
                        {"bay", bay},
                        {"token_manufacturer", token_manufacturer},
                        {"token_model", token_model},
                        {"token_serial", token_serial},
                        {"token_firmware", token_firmware},
                        {"key_local", key_local},
                        {"key_sensitive", key_sensitive},
                        {"key_always_sensitive", key_always_sensitive},
                        {"key_never_extractable", key_never_extractable},
                        {"mechanism", mechanism},
                        {"time", time}}
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

ProvisioningStatement ProvisioningStatement::parse(std::string_view json) {
  try {
    if (json.size() > kMaximumSize) throw std::length_error("it is too long");
    nlohmann::json object = nlohmann::json::parse(json);
    if (object.at("format") != "fleetroot-statement/1" || object.size() != kMembers + 1) {
      throw std::invalid_argument("it has other members than fleetroot-statement/1");
    }
    auto text = [&](const char* member) { return object.at(member).get<std::string>(); };
    auto flag = [&](const char* member) { return object.at(member).get<bool>(); };
    ProvisioningStatement statement{.order = OrderId::parse(text("order")),
                                    .station = StationName::parse(text("station")),
                                    .bay = text("bay"),
                                    .token_manufacturer = text("token_manufacturer"),
                                    .token_model = text("token_model"),
                                    .token_serial = text("token_serial"),
                                    .token_firmware = text("token_firmware"),
                                    .key_local = flag("key_local"),
                                    .key_sensitive = flag("key_sensitive"),
                                    .key_always_sensitive = flag("key_always_sensitive"),
                                    .key_never_extractable = flag("key_never_extractable"),
                                    .mechanism = text("mechanism"),
                                    .time = text("time")};
    // What is not canonical could say a member twice, and be read in two ways.
    if (statement.to_json() != json) throw std::invalid_argument("it is not in its canonical form");
    return statement;
  } catch (const std::exception& error) {
    throw Error(ErrorCode::bad_request, "the provisioning statement cannot be read",
                "make the request with a Fleetroot station of the same version", error.what());
  }
}

}  // namespace fleetroot
