#include "lib/media/request_bundle.h"

#include "lib/base/strict_json.h"
#include "lib/media/bundle_json.h"

namespace fleetroot::media {
namespace {

// A request and a receipt have four values each, the document a few: all of them may be there.
static_assert(kMaximumItems * (4 + 4) + 100 < kMaximumJsonValues);

constexpr const char* kFormat = "fleetroot-request-bundle/1";

constexpr const char* kAccepted = "accepted";
constexpr const char* kRejected = "rejected";

CarriedRequest parse_request(const Json& json) {
  Members members(json, "a request");
  CarriedRequest request{.device_id = members.parsed("device_id", DeviceId::parse),
                         .message = members.base64("pkimessage")};
  if (members.digest("sha256") != sha256_hex(request.message))
    refuse_member("sha256", "is not the digest of the pkimessage");
  members.refuse_others();
  return request;
}

Receipt parse_receipt(const Json& json) {
  Members members(json, "a receipt");
  DeviceId device_id = members.parsed("device_id", DeviceId::parse);
  SerialNumber serial = members.parsed("serial", SerialNumber::from_hex);
  std::string result = members.text("result");
  if (result != kAccepted && result != kRejected)
    refuse_member("result", "is neither \"accepted\" nor \"rejected\"");
  members.refuse_others();
  return {.device_id = std::move(device_id), .serial = serial, .accepted = result == kAccepted};
}

}  // namespace

std::string RequestBundle::to_json() const {
  Json request_list = Json::array();
  for (const CarriedRequest& request : requests) {
    request_list.push_back({{"device_id", request.device_id.text()},
                            {"sha256", sha256_hex(request.message)},
                            {"pkimessage", to_base64(request.message)}});
  }
  Json receipt_list = Json::array();
  for (const Receipt& receipt : receipts) {
    receipt_list.push_back({{"device_id", receipt.device_id.text()},
                            {"serial", receipt.serial.hex()},
                            {"result", receipt.accepted ? kAccepted : kRejected}});
  }
  return Json{{"format", kFormat},
              {"ca", ca},
              {"station", station.text()},
              {"sequence", sequence},
              {"previous", previous},
              {"order", order.text()},
              {"created", format_time(created)},
              {"expires", format_time(expires)},
              {"requests", std::move(request_list)},
              {"receipts", std::move(receipt_list)}}
      .dump();
}

RequestBundle RequestBundle::parse(const std::string& json) {
  Json object = parse_strictly(json);
  Members members(object, "a request bundle");
  if (members.text("format") != kFormat) refuse_member("format", std::string("is not ") + kFormat);
  RequestBundle bundle{.ca = members.digest("ca"),
                       .station = members.parsed("station", StationName::parse),
                       .sequence = members.number("sequence"),
                       .previous = members.digest("previous"),
                       .order = members.parsed("order", OrderId::parse),
                       .created = members.time("created"),
                       .expires = members.time("expires"),
                       .requests = {},
                       .receipts = {}};
  if (bundle.sequence == 0) refuse_member("sequence", "begins with 1");
  if ((bundle.sequence == 1) != (bundle.previous == kNoBundle))
    refuse_member("previous", "is 64 zeros for the first bundle, and for no other");
  std::set<std::string> devices;
  for (const Json& request : members.list("requests", kMaximumItems)) {
    bundle.requests.push_back(parse_request(request));
    if (!devices.insert(bundle.requests.back().device_id.text()).second)
      refuse_member("requests", "there are two for " + bundle.requests.back().device_id.text());
  }
  for (const Json& receipt : members.list("receipts", kMaximumItems))
    bundle.receipts.push_back(parse_receipt(receipt));
  members.refuse_others();
  return bundle;
}

}  // namespace fleetroot::media
