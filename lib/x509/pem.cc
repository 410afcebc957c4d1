#include "lib/x509/pem.h"

namespace fleetroot {

BioPtr pem_reader(std::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

int no_pass_phrase(char*, int, int, void*) {
  return -1;
}

std::string text_in(BIO* memory) {
  char* text = nullptr;
  long size = BIO_get_mem_data(memory, &text);
  return {text, static_cast<std::size_t>(size)};
}

}  // namespace fleetroot
