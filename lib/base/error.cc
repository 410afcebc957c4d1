#include "lib/base/error.h"

#include <array>
#include <cstring>

namespace fleetroot {
namespace {

struct Row {
  ErrorCode code;
  std::string_view name;
  int exit_code;
};

constexpr std::array kTable{
    Row{ErrorCode::usage, "usage", 64},
    Row{ErrorCode::invalid_device_id, "invalid_device_id", 65},
    Row{ErrorCode::bad_request, "bad_request", 65},
    Row{ErrorCode::not_on_order, "not_on_order", 65},
    Row{ErrorCode::algorithm_not_allowed, "algorithm_not_allowed", 65},
    Row{ErrorCode::order_unknown, "order_unknown", 65},
    Row{ErrorCode::order_full, "order_full", 65},
    Row{ErrorCode::order_closed, "order_closed", 65},
    Row{ErrorCode::key_reused, "key_reused", 65},
    Row{ErrorCode::device_has_certificate, "device_has_certificate", 65},
    Row{ErrorCode::device_revoked, "device_revoked", 65},
    Row{ErrorCode::device_scrapped, "device_scrapped", 65},
    Row{ErrorCode::refused_by_ca, "refused_by_ca", 65},
    Row{ErrorCode::certificate_rejected, "certificate_rejected", 65},
    Row{ErrorCode::token_foreign_object, "token_foreign_object", 65},
    Row{ErrorCode::token_untrusted, "token_untrusted", 65},
    Row{ErrorCode::token_failed, "token_failed", 65},
    Row{ErrorCode::bundle_damaged, "bundle_damaged", 65},
    Row{ErrorCode::bundle_foreign, "bundle_foreign", 65},
    Row{ErrorCode::bundle_expired, "bundle_expired", 65},
    Row{ErrorCode::bundle_gap, "bundle_gap", 65},
    Row{ErrorCode::bundle_forked, "bundle_forked", 65},
    Row{ErrorCode::ca_unreachable, "ca_unreachable", 69},
    Row{ErrorCode::internal, "internal", 70},
    Row{ErrorCode::cannot_create, "cannot_create", 73},
    Row{ErrorCode::token_full, "token_full", 73},
    Row{ErrorCode::io, "io", 74},
    Row{ErrorCode::token_absent, "token_absent", 75},
    Row{ErrorCode::token_unplugged, "token_unplugged", 75},
    Row{ErrorCode::token_busy, "token_busy", 75},
    Row{ErrorCode::busy, "busy", 75},
    Row{ErrorCode::protocol, "protocol", 76},
    Row{ErrorCode::pin_missing, "pin_missing", 77},
    Row{ErrorCode::pin_wrong, "pin_wrong", 77},
    Row{ErrorCode::pin_locked, "pin_locked", 77},
    Row{ErrorCode::not_authorised, "not_authorised", 77},
    Row{ErrorCode::configuration, "configuration", 78},
    Row{ErrorCode::module_unusable, "module_unusable", 78},
    Row{ErrorCode::token_uninitialised, "token_uninitialised", 78},
    Row{ErrorCode::token_ambiguous, "token_ambiguous", 78},
    Row{ErrorCode::clock, "clock", 78},
};

const Row& row_of(ErrorCode code) {
  for (const Row& row : kTable) {
    if (row.code == code) return row;
  }
  std::terminate();  // a code without a row does not pass the unit test
}

}  // namespace

int exit_code(ErrorCode code) {
  return row_of(code).exit_code;
}

bool is_retryable(ErrorCode code) {
  return exit_code(code) == 75;
}

std::string_view name_of(ErrorCode code) {
  return row_of(code).name;
}

ErrorCode error_code_from_name(std::string_view name) {
  for (const Row& row : kTable) {
    if (row.name == name) return row.code;
  }
  return ErrorCode::refused_by_ca;
}

Error::Error(ErrorCode code, std::string message, std::string hint, std::string cause)
    : code_(code),
      message_(std::move(message)),
      hint_(std::move(hint)),
      cause_(std::move(cause)),
      what_(cause_.empty() ? message_ : message_ + " (" + cause_ + ")") {}

Error system_error(ErrorCode code, std::string message, std::string hint, int error_number) {
  return {code, std::move(message), std::move(hint), std::strerror(error_number)};
}

}  // namespace fleetroot
