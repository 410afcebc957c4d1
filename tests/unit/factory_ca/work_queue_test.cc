// What is thrown by one thing that waits concerns no other.
#include "factory-ca/work_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <stdexcept>

namespace fleetroot::ca {
namespace {

TEST(WorkQueue, GoesOnWhateverWorkThrows) {
  auto reply = std::make_shared<int>();
  std::weak_ptr<int> is_alive = reply;
  bool is_done = false;
  testing::internal::CaptureStderr();
  {
    WorkQueue queue(1);
    queue.add([reply = std::move(reply)] { throw std::runtime_error("a bug"); });
    queue.add([&] { is_done = is_alive.expired(); });
  }
  EXPECT_TRUE(is_done) << "and what would have answered is gone, which says that nothing will";
  EXPECT_NE(testing::internal::GetCapturedStderr().find("a bug"), std::string::npos);
}

}  // namespace
}  // namespace fleetroot::ca
