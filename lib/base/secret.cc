#include "lib/base/secret.h"

#include <string.h>
#include <sys/mman.h>

#include <new>

#include "lib/base/error.h"

namespace fleetroot {

// A page of its own, so that locking and unlocking never touch a neighbour.
struct Secret::Page {
  std::size_t size;
  char text[kMaximumSize];
};

void Secret::Unmap::operator()(Page* page) const {
  wipe(page, sizeof(Page));
  munmap(page, sizeof(Page));
}

Secret::Secret() {
  void* memory = mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  // All are best effort: a limit on locked memory must not stop the line, and the page is wiped anyway.
  (void)mlock(memory, sizeof(Page));
  (void)madvise(memory, sizeof(Page), MADV_DONTDUMP);
  (void)madvise(memory, sizeof(Page), MADV_WIPEONFORK);
  page_.reset(static_cast<Page*>(memory));
}

Secret::Secret(std::string_view text) : Secret() {
  if (text.size() > kMaximumSize) {
    throw Error(ErrorCode::usage, "a secret is longer than any PIN may be",
                "check where the PIN is read from");
  }
  memcpy(page_->text, text.data(), text.size());
  page_->size = text.size();
}

std::string_view Secret::view() const {
  return page_ ? std::string_view(page_->text, page_->size) : std::string_view();
}

std::size_t Secret::size() const {
  return page_ ? page_->size : 0;
}

char* Secret::buffer() {
  return page_->text;
}

void Secret::resize(std::size_t size) {
  page_->size = size;
}

void wipe(void* memory, std::size_t size) {
  if (size > 0) explicit_bzero(memory, size);  // what is empty may be nowhere
}

}  // namespace fleetroot
