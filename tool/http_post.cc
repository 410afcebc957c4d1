#include "tool/http_post.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <thread>

namespace fleetroot::station {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kFirstPause{100};
constexpr std::chrono::milliseconds kLongestPause{5000};

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    std::size_t end = std::min(text.find(',', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// Whether the server may do better when it is asked again.
bool is_passing(unsigned status) {
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

// Whether no other try at the same server can help.
bool is_hopeless(const Error& obstacle) {
  return obstacle.code() == ErrorCode::protocol || obstacle.code() == ErrorCode::clock;
}

// How long it wants to be left alone (RFC 9110 section 10.2.3), where it says so in seconds; of a date, whose
// clock may be another, nothing is made.
std::chrono::milliseconds wish_of(const http::Response& response) {
  std::string_view text = response.header("Retry-After");
  unsigned seconds = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return std::min<std::chrono::milliseconds>(std::chrono::seconds(seconds), kLongestPause);
}

}  // namespace

std::vector<http::Url> parse_addresses(const std::string& text, std::string_view prefix,
                                       std::string_view form) {
  std::vector<http::Url> urls;
  for (const std::string& part : split(text)) {
    if (!part.starts_with(prefix)) {
      throw Error(ErrorCode::usage, fmt::format("\"{}\" does not go with the address before it", part),
                  fmt::format("write {} for each", form));
    }
    urls.push_back(http::Url::parse(std::string_view(part).substr(prefix.size())));
  }
  return urls;
}

// The CA gives one certificate however often it is asked.
http::Response HttpPoster::send(const Post& post, const http::ClientTls& tls) {
  auto deadline = steady_clock::now() + timeout_;
  auto pause = kFirstPause;
  for (;;) {
    std::optional<Error> obstacle;
    bool was_sent = false;
    wish_ = {};
    for (std::size_t i = 0; i < urls_.size(); ++i) {
      try {
        http::Response response = try_one(
            post, tls, std::min(deadline, steady_clock::now() + timeout_ / static_cast<int>(urls_.size())));
        has_sent_ = true;
        return response;
      } catch (const Error& error) {
        obstacle = error;
        was_sent = client_ && client_->has_sent();
        has_sent_ = has_sent_ || was_sent;
        client_.reset();
        current_ = (current_ + 1) % urls_.size();
      }
      // Refused is refused, by whichever of them. Another may have the right certificate, and speak HTTP.
      if (obstacle->code() != ErrorCode::ca_unreachable && !is_hopeless(*obstacle)) throw Error(*obstacle);
      has_lost_an_answer_ = has_lost_an_answer_ || was_sent;
    }
    auto wait = std::max(pause, wish_);
    if (is_hopeless(*obstacle) || steady_clock::now() + wait >= deadline) throw Error(*obstacle);
    std::this_thread::sleep_for(wait);
    pause = std::min(2 * pause, kLongestPause);
  }
}

http::Response HttpPoster::try_one(const Post& post, const http::ClientTls& tls,
                                   steady_clock::time_point deadline) {
  const http::Url& url = urls_[current_];
  if (!client_) client_.emplace(url, url.is_tls ? std::optional(tls) : std::nullopt);
  http::Response response = client_->exchange({.method = "POST",
                                               .path = post.path(url),
                                               .content_type = post.content_type,
                                               .body = post.body,
                                               .headers = post.headers},
                                              deadline);
  if (!is_passing(response.status)) return response;
  wish_ = std::max(wish_, wish_of(response));
  throw refusal_of(url, response, {});
}

Error refusal_of(const http::Url& server, const http::Response& response, const std::string& no_service) {
  std::string words(as_text(response.body));
  words = words.substr(0, std::min<std::size_t>(words.find('\n'), 300));
  auto error = [&](ErrorCode code, std::string hint) {
    return Error(code, fmt::format("{} answers with HTTP status {}", server.authority(), response.status),
                 std::move(hint), words);
  };
  if (is_passing(response.status)) {
    return error(ErrorCode::ca_unreachable, "run the same command again later: it resumes");
  }
  if (response.status == 401 || response.status == 403) {
    return error(ErrorCode::not_authorised, "ask whoever runs the CA what it logged");
  }
  return error(ErrorCode::protocol, "check the CA's address: " + no_service);
}

}  // namespace fleetroot::station
