// The one exception type of Fleetroot, and the one table from error code to exit code, retry advice and JSON
// name. Thrown deep, caught at the edge: a command, a bay, a request. Destructors never throw.
#pragma once

#include <exception>
#include <string>
#include <string_view>

namespace fleetroot {

// What went wrong, as a script may branch on it. The names that JSON shows are these names.
enum class ErrorCode {
  // 64: the command line is wrong
  usage,
  // 65: this device, request or certificate is refused; the same try again will be refused again
  invalid_device_id,
  bad_request,
  not_on_order,
  algorithm_not_allowed,
  order_unknown,
  order_full,
  order_closed,
  key_reused,
  device_has_certificate,
  device_revoked,
  device_scrapped,
  refused_by_ca,
  certificate_rejected,
  token_foreign_object,
  token_untrusted,
  token_failed,
  // and this bundle on removable media, whole
  bundle_damaged,
  bundle_foreign,
  bundle_expired,
  bundle_gap,
  bundle_forked,
  // 69: the CA cannot be reached
  ca_unreachable,
  // 70: our bug
  internal,
  // 73 / 74: cannot write
  cannot_create,
  token_full,
  io,
  // 75: try the same device again
  token_absent,
  token_unplugged,
  token_busy,
  busy,
  // 76: the peer broke the protocol
  protocol,
  // 77: PIN or authorisation
  pin_missing,
  pin_wrong,
  pin_locked,
  not_authorised,
  // 78: configuration
  configuration,
  module_unusable,
  token_uninitialised,
  token_ambiguous,
  clock,
};

// The exit code of a program that ends with this error (sysexits.h; docs/operations.md).
int exit_code(ErrorCode code);
// Whether the same command for the same device is worth another try without changing anything but the plug.
bool is_retryable(ErrorCode code);
// "pin_wrong"
std::string_view name_of(ErrorCode code);
// The reverse of name_of, for errors that arrive from a peer; anything unknown is `refused_by_ca`.
ErrorCode error_code_from_name(std::string_view name);

class Error : public std::exception {
 public:
  // message: one sentence, lower-case first letter, on what happened. hint: one sentence on what to do.
  // cause: what a lower layer said (CKR name, OpenSSL queue, errno); empty if nothing did. None holds a
  // secret.
  Error(ErrorCode code, std::string message, std::string hint, std::string cause = {});

  ErrorCode code() const noexcept { return code_; }
  const std::string& message() const noexcept { return message_; }
  const std::string& hint() const noexcept { return hint_; }
  const std::string& cause() const noexcept { return cause_; }
  // message, and the cause in brackets where there is one
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  ErrorCode code_;
  std::string message_;
  std::string hint_;
  std::string cause_;
  std::string what_;
};

// Error with the words of errno as its cause.
Error system_error(ErrorCode code, std::string message, std::string hint, int error_number);

}  // namespace fleetroot
