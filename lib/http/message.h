// An HTTP request and its response, as those who answer them see them, and the peer that a request came from.
#pragma once

#include <any>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/x509/certificate.h"

namespace fleetroot::http {

struct Header {
  std::string name;
  std::string value;
};

// "text/plain" of "Text/Plain; charset=utf-8".
std::string media_type_of(std::string_view content_type);

// The other end of one connection.
struct Peer {
  std::string address;           // "127.0.0.1", without the port
  std::uint64_t connection = 0;  // never used twice by one server
  // What the client presented in the TLS handshake. Once a request is there, the client has proven that it
  // holds the key; in a PeerCheck it has not yet.
  std::optional<Certificate> certificate;
  std::vector<Certificate> chain;  // in the order presented, `certificate` first
  // Both by the server's PeerCheck: who it is, where Limits::connections_per_client is to count it, and
  // whatever the check wants to be reminded of when a request comes.
  std::string client{};
  std::any note{};
};

struct Request {
  std::string method;
  std::string path;   // "/devices" or "*", not decoded
  std::string query;  // what follows the first '?'
  std::vector<Header> headers;
  Bytes body;
  Peer peer;

  // The first one of this name, whatever its case; empty if there is none.
  std::string_view header(std::string_view name) const;
  // The content type without its parameters, lower-case: "application/pkixcmp".
  std::string content_type() const;
};

struct Response {
  unsigned status = 200;
  std::string content_type{};  // no header if empty
  Bytes body{};
  std::vector<Header> headers{};
  // Somebody else's answer to a HEAD: its headers say how long the body would be, or nothing does.
  bool is_head_alone = false;
  bool is_secret = false;  // overwritten in our memory once it has been sent, or cannot be

  static Response text(unsigned status, std::string_view words);
  static Response json(unsigned status, std::string_view document);
  std::string_view header(std::string_view name) const;
};

}  // namespace fleetroot::http
