// The delivery note of an order.
#include "factory-ca/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "factory-ca/later_life.h"
#include "tests/unit/factory_ca/factory.h"

namespace fleetroot::ca {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

class Manifest : public Factory {
 protected:
  Manifest() {
    open_order("PO-1", 5);
    open_order("PO-2", 5);
  }
  nlohmann::ordered_json manifest() {
    return manifest_of(ledger(), OrderId::parse("PO-1"), issuing.certificate, clock);
  }
};

TEST_F(Manifest, SaysWhatWasMadeAndWhatSupersededWhat) {
  Certificate old = process.issue(request_for("dev-1", software_key()));
  process.issue(request_for("dev-2", software_key()), "PO-2");
  (void)authorise_rework(ledger(), DeviceId::parse("dev-1"), "", clock, Commitment::for_real);
  clock.time += std::chrono::hours(1);
  Certificate replacement = process.issue(request_for("dev-1", software_key()));
  nlohmann::ordered_json told = manifest();
  EXPECT_EQ(told["format"], "fleetroot-manifest/1");
  EXPECT_EQ(told["order"], "PO-1");
  EXPECT_EQ(told["ca_sha256"], issuing.certificate.fingerprint());
  EXPECT_EQ(told["created"], format_time(clock.time));
  EXPECT_EQ(told["checkpoint"]["digest"], ledger().log.checkpoint().digest);
  ASSERT_THAT(told["devices"], SizeIs(2));
  const nlohmann::ordered_json& first = told["devices"][0];
  const nlohmann::ordered_json& second = told["devices"][1];
  EXPECT_EQ(first["device_id"], "dev-1");
  EXPECT_EQ(first["certificate_sha256"], old.fingerprint());
  EXPECT_EQ(first["public_key_sha256"], old.public_key().fingerprint());
  EXPECT_EQ(first["status"], "revoked");
  EXPECT_EQ(first["revocation_reason"], "superseded");
  EXPECT_EQ(first["superseded_by"], replacement.serial().hex());
  EXPECT_EQ(second["status"], "issued");
  EXPECT_EQ(second["supersedes"], old.serial().hex());
  EXPECT_EQ(second["superseded_by"], "");
}

TEST_F(Manifest, IsATableToo) {
  Certificate one = process.issue(request_for("dev-1", software_key()), "PO-1", "a \"quoted\", station");
  std::string csv = manifest_csv(manifest());
  EXPECT_THAT(csv, testing::StartsWith("device_id,serial,certificate_sha256,public_key_sha256,"));
  EXPECT_THAT(csv, HasSubstr("\r\ndev-1," + one.serial().hex() + "," + one.fingerprint()));
  EXPECT_THAT(csv, HasSubstr("\"a \"\"quoted\"\", station\""));
}

TEST_F(Manifest, OfAnOrderWithoutDevicesIsEmpty) {
  EXPECT_THAT(manifest()["devices"], SizeIs(0));
  EXPECT_EQ(code_of([&] { (void)manifest_of(ledger(), OrderId::parse("PO-9"), issuing.certificate, clock); }),
            ErrorCode::order_unknown);
}

TEST_F(Manifest, IsReadWhileAnotherProcessWrites) {
  process.issue(request_for("dev-1", software_key()));
  std::unique_ptr<Process> other = another_process();
  WriteTransaction writing = other->ledger.write();
  EXPECT_THAT(manifest()["devices"], SizeIs(1));
}

}  // namespace
}  // namespace fleetroot::ca
