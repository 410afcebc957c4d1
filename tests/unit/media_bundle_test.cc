// Bundles say the same after they were written and read, and nothing else is read.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "lib/base/strict_json.h"
#include "lib/media/request_bundle.h"
#include "lib/media/response_bundle.h"
#include "tests/expect_error.h"
#include "tests/software_pki.h"

namespace fleetroot::media {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

RequestBundle some_requests() {
  return {
      .ca = std::string(64, 'a'),
      .station = StationName::parse("st-01"),
      .sequence = 7,
      .previous = std::string(64, 'b'),
      .order = OrderId::parse("PO-1"),
      .created = kTestTime,
      .expires = kTestTime + std::chrono::hours(24),
      .requests = {{.device_id = DeviceId::parse("D-1"), .message = {0x30, 0x01, 0xff}},
                   {.device_id = DeviceId::parse("D-2"), .message = {0x30}}},
      .receipts = {
          {.device_id = DeviceId::parse("D-0"), .serial = SerialNumber::from_hex("01aa"), .accepted = true},
          {.device_id = DeviceId::parse("D-3"),
           .serial = SerialNumber::from_hex("01ab"),
           .accepted = false}}};
}

ResponseBundle some_answers() {
  Identity ca = issue({.common_name = "CA", .extensions = kCaExtensions});
  return {.ca = ca.certificate.fingerprint(),
          .station = StationName::parse("st-01"),
          .sequence = 7,
          .request_bundle = std::string(64, 'c'),
          .order = OrderId::parse("PO-1"),
          .created = kTestTime,
          .answers = {{.device_id = DeviceId::parse("D-1"),
                       .request = std::string(64, 'd'),
                       .certificate = ca.certificate.der(),
                       .refusal = {}},
                      {.device_id = DeviceId::parse("D-2"),
                       .request = std::string(64, 'e'),
                       .certificate = {},
                       .refusal = Error(ErrorCode::order_full, "the order is full", "ask for another")}},
          .chain = {ca.certificate},
          .crl = Bytes{1, 2, 3},
          .log_entries = 12,
          .log_digest = std::string(64, 'f')};
}

TEST(RequestBundle, ReadsBack) {
  RequestBundle read = RequestBundle::parse(some_requests().to_json());
  EXPECT_EQ(read.to_json(), some_requests().to_json());
  EXPECT_EQ(read.requests[0].message, (Bytes{0x30, 0x01, 0xff}));
  EXPECT_EQ(read.expires, kTestTime + std::chrono::hours(24));
  EXPECT_TRUE(read.receipts[0].accepted);
  EXPECT_FALSE(read.receipts[1].accepted);
}

TEST(ResponseBundle, ReadsBack) {
  ResponseBundle answers = some_answers();
  ResponseBundle read = ResponseBundle::parse(answers.to_json());
  EXPECT_EQ(read.to_json(), answers.to_json());
  EXPECT_EQ(read.answers[0].certificate, answers.answers[0].certificate);
  EXPECT_EQ(read.answers[1].refusal->code(), ErrorCode::order_full);
  EXPECT_EQ(read.crl, (Bytes{1, 2, 3}));
  answers.crl.reset();
  EXPECT_FALSE(ResponseBundle::parse(answers.to_json()).crl);
}

// Each member of each object: missing, and of another type.
template <typename Bundle>
void refuses_every_change(const std::string& text) {
  Json whole = Json::parse(text);
  const Json flat = whole.flatten();
  for (const auto& [pointer, value] : flat.items()) {
    for (const Json& other : {Json(nullptr), Json(-1), Json("?"), Json::array({1}), Json{{"a", 1}}}) {
      // A refusal's words may be any, and its code one of a newer CA.
      if (pointer.find("/error/") != std::string::npos && other == "?") continue;
      Json changed = whole;
      changed[Json::json_pointer(pointer)] = other;
      EXPECT_EQ(code_of([&] { (void)Bundle::parse(changed.dump()); }), ErrorCode::bundle_damaged)
          << pointer << " = " << other;
    }
  }
  for (const auto& [name, value] : whole.items()) {
    if (name == "crl") continue;  // the one that may be absent
    Json changed = whole;
    changed.erase(name);
    EXPECT_EQ(code_of([&] { (void)Bundle::parse(changed.dump()); }), ErrorCode::bundle_damaged) << name;
    changed = whole;
    changed[name + "_"] = value;
    EXPECT_EQ(code_of([&] { (void)Bundle::parse(changed.dump()); }), ErrorCode::bundle_damaged) << name;
  }
}

TEST(RequestBundle, RefusesEveryOtherShape) {
  refuses_every_change<RequestBundle>(some_requests().to_json());
}

TEST(ResponseBundle, RefusesEveryOtherShape) {
  refuses_every_change<ResponseBundle>(some_answers().to_json());
}

TEST(ResponseBundle, RefusesAnAnswerThatIsBothOrNeither) {
  Json both = Json::parse(some_answers().to_json());
  both["answers"][0]["error"] = both["answers"][1]["error"];
  EXPECT_EQ(code_of([&] { (void)ResponseBundle::parse(both.dump()); }), ErrorCode::bundle_damaged);
  both["answers"][0].erase("error");
  both["answers"][0].erase("certificate");
  EXPECT_EQ(code_of([&] { (void)ResponseBundle::parse(both.dump()); }), ErrorCode::bundle_damaged);
}

TEST(RequestBundle, RefusesWhatIsNoJson) {
  for (const std::string text : {"", "[]", "{", "null", "{}x", "{\"format\":\"\xff\"}"})
    EXPECT_EQ(code_of([&] { (void)RequestBundle::parse(text); }), ErrorCode::bundle_damaged) << text;
}

TEST(RequestBundle, RefusesMoreThanTenThousand) {
  RequestBundle bundle = some_requests();
  bundle.requests.clear();
  for (std::size_t i = 0; i <= kMaximumItems; ++i)
    bundle.requests.push_back({.device_id = DeviceId::parse("D-" + std::to_string(i)), .message = {1}});
  EXPECT_EQ(code_of([&] { (void)RequestBundle::parse(bundle.to_json()); }), ErrorCode::bundle_damaged);
  bundle.requests.pop_back();
  EXPECT_EQ(RequestBundle::parse(bundle.to_json()).requests.size(), kMaximumItems);
}

TEST(RequestBundle, TenThousandRequestsAndReceiptsAreWithinWhatIsRead) {
  RequestBundle bundle = some_requests();
  bundle.requests.clear();
  bundle.receipts.assign(kMaximumItems, bundle.receipts[0]);
  for (std::size_t i = 0; i < kMaximumItems; ++i)
    bundle.requests.push_back({.device_id = DeviceId::parse("D-" + std::to_string(i)), .message = {1}});
  EXPECT_EQ(RequestBundle::parse(bundle.to_json()).receipts.size(), kMaximumItems);
}

TEST(ResponseBundle, TenThousandRefusalsAreWithinWhatIsRead) {
  ResponseBundle bundle = some_answers();
  bundle.answers.assign(kMaximumItems, bundle.answers[1]);
  EXPECT_EQ(ResponseBundle::parse(bundle.to_json()).answers.size(), kMaximumItems);
}

// What takes long to build is refused before: it would hold up all who wait for the CA.
TEST(RequestBundle, IsNotBuiltOfMoreThanAnyoneWrites) {
  std::string items = "[";
  for (std::size_t i = 0; i < kMaximumJsonValues; ++i) items += "{},";
  std::string text = R"({"requests":)" + items + "{}]}";
  EXPECT_THAT(error_of([&] { (void)RequestBundle::parse(text); }).message(), HasSubstr("100000 values"));
}

TEST(Time, ReadsWhatItWritesAndNothingElse) {
  EXPECT_EQ(parse_time(format_time(kTestTime)), kTestTime);
  for (const char* text :
       {"", "2026-11-24", "2026-11-24T00:00:00", "2026-11-24T00:00:00Zx", "2026-02-30T00:00:00Z",
        " 2026-11-24T00:00:00Z", "2026-11-24T24:00:00Z", "2026-1-24T00:00:00Z"})
    EXPECT_FALSE(parse_time(text)) << text;
}

TEST(Base64, ReadsWhatItWritesAndNothingElse) {
  for (std::size_t size = 0; size < 10; ++size) {
    Bytes bytes(size, 0xfe);
    EXPECT_EQ(from_base64(to_base64(bytes)), bytes);
  }
  for (const char* text :
       {"A", "AA", "AAA", "AA==\n", " AAAA", "AB==", "A===", "====", "AA=A", "AAAA=", "\xff\xff\xff\xff"})
    EXPECT_FALSE(from_base64(text)) << text;
}

}  // namespace
}  // namespace fleetroot::media
