// What a running gateway shares between its threads: the world as it was last read, and sessions with the
// registry. Any thread.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "device-gateway/admission.h"

namespace fleetroot::gateway {

class Belief {
 public:
  Belief(std::filesystem::path registry, std::vector<EnvironmentName> environments);

  std::shared_ptr<const World> world() const;
  // Reads the world again if it has changed; whether it has.
  bool refresh();

  // Error(io) once the registry that was opened is gone or another one is in its place.
  void refuse_if_replaced() const { first_.refuse_if_replaced(); }

  // One of the open sessions with the registry, or a new one, for as long as the lease lives. None with a
  // registry that is not in its place any more: what it says may have been taken back since.
  class Lease {
   public:
    Lease(Belief& belief, std::unique_ptr<Registry> registry)
        : belief_(belief), registry_(std::move(registry)) {}
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease();
    Registry& operator*() const { return *registry_; }

   private:
    Belief& belief_;
    std::unique_ptr<Registry> registry_;
  };
  Lease registry();

 private:
  const std::filesystem::path file_;
  const std::vector<EnvironmentName> environments_;
  const Registry first_;  // what all that is said here is about
  mutable std::mutex mutex_;
  std::shared_ptr<const World> world_;  // shared with who is deciding right now
  std::vector<std::unique_ptr<Registry>> idle_;
};

}  // namespace fleetroot::gateway
