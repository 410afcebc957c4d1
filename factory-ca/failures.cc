#include "factory-ca/failures.h"

#include <fmt/format.h>

#include "lib/base/program.h"
#include "lib/cmp/refusal.h"

namespace fleetroot::ca {

void tell_failure(const Error& error) {
  if (error.code() != ErrorCode::internal && !cmp::is_about_the_ca(error.code())) return;
  print_remark("fleetroot-ca", fmt::format("cannot answer: {}", error.what()));
}

}  // namespace fleetroot::ca
