// What a running gateway believes, and of which registry.
#include "device-gateway/belief.h"

#include "tests/unit/device_gateway/world.h"

namespace fleetroot::gateway {
namespace {

namespace fs = std::filesystem;

class ReplacedRegistry : public GatewayWorld {
 protected:
  fs::path file_ = directory_ / "registry.db";
  Belief belief_{file_, {kProduction, kTest}};
};

TEST_F(ReplacedRegistry, IsAskedNothingMore) {
  EXPECT_NO_THROW((void)(*belief_.registry()).generation());  // a session that is kept

  fs::rename(file_, directory_ / "away.db");
  EXPECT_EQ(code_of([&] { belief_.registry(); }), ErrorCode::io);
  EXPECT_EQ(code_of([&] { belief_.refresh(); }), ErrorCode::io);
  EXPECT_FALSE(fs::exists(file_));

  Registry another(file_);
  EXPECT_EQ(code_of([&] { belief_.registry(); }), ErrorCode::io);
  EXPECT_EQ(code_of([&] { belief_.refuse_if_replaced(); }), ErrorCode::io);

  fs::rename(directory_ / "away.db", file_);
  EXPECT_NO_THROW((void)(*belief_.registry()).generation());
}

}  // namespace
}  // namespace fleetroot::gateway
