// The same bytes to one of several servers of a CA, again and again, until one has taken them: what CMP over
// HTTP and EST have in common.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lib/http/client.h"

namespace fleetroot::station {

struct Post {
  std::string content_type;
  Bytes body;
  // Where, at the server that this is the URL of.
  std::function<std::string(const http::Url&)> path;
  std::vector<http::Header> headers{};
};

// "https://a,https://b" with `prefix` before each: the URLs without it. Error(usage) for anything else, with
// `form` as what to write.
std::vector<http::Url> parse_addresses(const std::string& text, std::string_view prefix,
                                       std::string_view form);

// One thread. Connections are kept between posts.
class HttpPoster {
 public:
  // All tries for one post end within the time-out.
  HttpPoster(std::vector<http::Url> urls, int timeout_seconds)
      : urls_(std::move(urls)), timeout_(std::chrono::seconds(timeout_seconds)) {}

  // The first answer that a server means, whatever it says: 408, 429, 500, 502, 503 and 504 are tried again,
  // at the next address, with pauses that grow, or as long as a Retry-After wishes, up to five seconds. Where
  // none comes in time, or the server is not who it should be, Error as http::Client says.
  http::Response send(const Post& post, const http::ClientTls& tls);
  // Who gave it.
  const http::Url& server() const { return urls_[current_]; }
  // Whether a try before the last one went out: who answered it with nothing, or with trouble, may have taken
  // it all the same.
  bool has_lost_an_answer() const { return has_lost_an_answer_; }
  // Whether any try went out.
  bool has_sent() const { return has_sent_; }
  void close() { client_.reset(); }

 private:
  http::Response try_one(const Post& post, const http::ClientTls& tls,
                         std::chrono::steady_clock::time_point deadline);

  const std::vector<http::Url> urls_;
  const std::chrono::milliseconds timeout_;
  std::size_t current_ = 0;
  std::chrono::milliseconds wish_{};  // the longest of this round
  std::optional<http::Client> client_;
  bool has_lost_an_answer_ = false;
  bool has_sent_ = false;
};

// The Error for an answer that is no 200: `no_service` says what is not at this address.
Error refusal_of(const http::Url& server, const http::Response& response, const std::string& no_service);

}  // namespace fleetroot::station
