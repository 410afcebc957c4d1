#include "factory-ca/failures.h"

#include <fmt/format.h>

#include <cstdio>

#include "lib/base/printable.h"
#include "lib/cmp/refusal.h"

namespace fleetroot::ca {

void tell_failure(const Error& error) {
  if (error.code() != ErrorCode::internal && !cmp::is_about_the_ca(error.code())) return;
  // Not fmt::print, which throws where stderr cannot be written.
  std::fputs(fmt::format("fleetroot-ca: cannot answer: {}\n", printable(error.what())).c_str(), stderr);
}

}  // namespace fleetroot::ca
