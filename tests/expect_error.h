// What a refused call says.
#pragma once

#include <gtest/gtest.h>

#include <ostream>

#include "lib/base/error.h"

namespace fleetroot {

inline void PrintTo(ErrorCode code, std::ostream* out) {
  *out << name_of(code);
}

// The Error that `body` throws. A test failure if it throws none.
template <typename Body>
Error error_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was refused";
  return {ErrorCode::internal, "nothing was refused", ""};
}

template <typename Body>
ErrorCode code_of(Body&& body) {
  return error_of(body).code();
}

}  // namespace fleetroot
