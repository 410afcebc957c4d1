#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "lib/base/error.h"
#include "lib/http/server.h"

namespace fleetroot::http {
namespace {

constexpr int kBacklog = 1024;

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};
using AddressesPtr = std::unique_ptr<addrinfo, FreeAddresses>;

AddressesPtr resolve(const std::string& address) {
  std::size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  bool is_bracketed = host.starts_with('[') && host.ends_with(']');
  if (is_bracketed) host = host.substr(1, host.size() - 2);
  // The last group of "::1" is no port.
  bool is_clear = is_bracketed || host.find(':') == std::string::npos;
  std::string port = colon == std::string::npos ? "" : address.substr(colon + 1);
  if (!is_clear || host.empty() || port.empty() || port.size() > 5 ||
      port.find_first_not_of("0123456789") != std::string::npos || std::stoi(port) > 65535) {
    throw Error(ErrorCode::usage, fmt::format("\"{}\" is no address to listen on", address),
                "write it like 127.0.0.1:8443 or [::1]:8443; port 0 lets the system choose");
  }
  addrinfo wanted{};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (int error = getaddrinfo(host.c_str(), port.c_str(), &wanted, &found); error != 0) {
    throw Error(ErrorCode::configuration, fmt::format("{} is no address of this machine", host),
                "check the address", gai_strerror(error));
  }
  return AddressesPtr(found);
}

std::string name_of_socket(int fd) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  char host[NI_MAXHOST], port[NI_MAXSERV];
  bool good = getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) == 0 &&
              getnameinfo(reinterpret_cast<sockaddr*>(&bound), size, host, sizeof host, port, sizeof port,
                          NI_NUMERICHOST | NI_NUMERICSERV) == 0;
  if (!good)
    throw system_error(ErrorCode::internal, "cannot tell what a socket is bound to", "report this", errno);
  return bound.ss_family == AF_INET6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

}  // namespace

Listener::Listener(FileDescriptor socket)
    : socket_(std::move(socket)), address_(name_of_socket(socket_.get())) {}

Listener Listener::bind(const std::string& address) {
  AddressesPtr addresses = resolve(address);
  FileDescriptor fd(socket(addresses->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int on = 1;
  bool good = fd && setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
              ::bind(fd.get(), addresses->ai_addr, addresses->ai_addrlen) == 0 &&
              listen(fd.get(), kBacklog) == 0;
  if (!good) {
    throw system_error(ErrorCode::configuration, fmt::format("cannot listen on {}", address),
                       "check the address, and whether another program has this port", errno);
  }
  return Listener(std::move(fd));
}

}  // namespace fleetroot::http
