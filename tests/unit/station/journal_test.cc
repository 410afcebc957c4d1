// The station's memory: which device was begun on which token.
#include "tool/journal.h"

#include <gtest/gtest.h>

#include "tests/scratch_directory.h"

namespace fleetroot::station {
namespace {

DeviceRecord plan_of(const char* device, const char* token) {
  DeviceRecord record;
  record.device_id = device;
  record.token = token;
  record.preset = "fleetroot";
  record.algorithm = "p256";
  return record;
}

// The token was another device's before, or this one's: that it was begun with then is long ago.
TEST(Journal, KnowsADeviceByTheTokenThatItWasBegunOnLast) {
  ScratchDirectory directory;
  Journal journal(directory / "journal.db");
  Time time{};
  for (auto [device, token] : {std::pair("dev-1", "a"), {"dev-2", "b"}, {"dev-2", "a"}})
    journal.plan(plan_of(device, token), time += std::chrono::hours(1));
  EXPECT_EQ(journal.device(DeviceId::parse("dev-2")).value().token, "a");
  journal.plan(plan_of("dev-2", "b"), time += std::chrono::hours(1));
  EXPECT_EQ(journal.device(DeviceId::parse("dev-2")).value().token, "b");
}

}  // namespace
}  // namespace fleetroot::station
