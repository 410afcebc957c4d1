// A byte string that must not outlive its use: kept out of swap and core dumps where the system allows it,
// overwritten when it dies, zeros to a forked child. Move-only, and nothing prints it.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "lib/base/bytes.h"

namespace fleetroot {

class Secret {
 public:
  static constexpr std::size_t kMaximumSize = 4000;

  Secret();
  // Copies; the caller clears its own copy. Throws Error(usage) beyond kMaximumSize bytes.
  explicit Secret(std::string_view text);
  Secret(Secret&&) noexcept = default;
  Secret& operator=(Secret&&) noexcept = default;
  ~Secret() = default;

  std::string_view view() const;
  std::size_t size() const;
  bool empty() const { return size() == 0; }

  // For reading into: a buffer of kMaximumSize bytes, and how many of them count.
  char* buffer();
  void resize(std::size_t size);

 private:
  struct Page;
  struct Unmap {
    void operator()(Page* page) const;
  };
  std::unique_ptr<Page, Unmap> page_;
};

// Overwrites memory in a way that the compiler may not drop.
void wipe(void* memory, std::size_t size);

// Overwrites bytes when it is left, however that is; those that were moved away are somebody else's by then.
class Wiping {
 public:
  explicit Wiping(Bytes& bytes, bool is_secret = true) : bytes_(bytes), is_secret_(is_secret) {}
  Wiping(const Wiping&) = delete;
  Wiping& operator=(const Wiping&) = delete;
  ~Wiping() {
    if (is_secret_) wipe(bytes_.data(), bytes_.size());
  }

 private:
  Bytes& bytes_;
  const bool is_secret_;
};

}  // namespace fleetroot
