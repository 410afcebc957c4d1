#include "tool/token_options.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <charconv>

namespace fleetroot::station {
namespace {

// Why no PIN can be read there, or nothing. Asked while the command line is read: later the number may be
// that of a file of our own.
std::string reason_against_descriptor(const std::string& text) {
  int fd = -1;
  const char* end = text.data() + text.size();
  bool is_number = std::from_chars(text.data(), end, fd).ptr == end;
  int flags = is_number ? fcntl(fd, F_GETFL) : -1;
  bool is_readable = flags >= 0 && (flags & O_ACCMODE) != O_WRONLY;
  return is_readable
             ? ""
             : fmt::format("{} is no descriptor that is open for reading, as 3 is in --pin-fd 3 3<FILE",
                           text);
}

}  // namespace

void TokenOptions::add_to(CLI::App& command) {
  command.add_option("--token", uri, "PKCS#11 URI of the device's token, with module-path and pin-source")
      ->required();
  command.add_option("--module-args", module.init_args,
                     "initialisation string for the module (NSS softokn wants one)");
  command.add_option("--remote-module", module.remote,
                     "what p11-kit-client leads to, if it is one of nss-softokn, tpm2-pkcs11");
  command.add_option("--pin-fd", pin_fd, "read the PIN from this file descriptor")
      ->check(reason_against_descriptor);
}

pkcs11::Pin TokenOptions::read_pin(const pkcs11::Uri& parsed) const {
  return pkcs11::read_pin({.fd = pin_fd,
                           .uri_source = parsed.pin_source,
                           .base = ".",
                           .prompt = fmt::format("PIN for {}", parsed.describe()),
                           .takes_fd = true});
}

}  // namespace fleetroot::station
