#include "device-gateway/belief.h"

namespace fleetroot::gateway {

Belief::Belief(std::filesystem::path registry, std::vector<EnvironmentName> environments)
    : file_(std::move(registry)), environments_(std::move(environments)), first_(file_) {
  refresh();
}

std::shared_ptr<const World> Belief::world() const {
  std::lock_guard lock(mutex_);
  return world_;
}

bool Belief::refresh() {
  Lease lease = registry();
  std::shared_ptr<const World> before = world();
  if (before && before->generation == (*lease).generation()) return false;
  auto read = std::make_shared<const World>(World::read(*lease, environments_));
  std::lock_guard lock(mutex_);
  world_ = std::move(read);
  return true;
}

Belief::Lease Belief::registry() {
  refuse_if_replaced();
  std::unique_ptr<Registry> registry;
  {
    std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      registry = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (!registry) {
    refuse_if_lost(file_);
    registry = std::make_unique<Registry>(file_);
  }
  return {*this, std::move(registry)};
}

Belief::Lease::~Lease() {
  std::lock_guard lock(belief_.mutex_);
  belief_.idle_.push_back(std::move(registry_));
}

}  // namespace fleetroot::gateway
