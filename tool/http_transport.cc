#include "tool/http_transport.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "lib/base/error.h"
#include "lib/http/client.h"

namespace fleetroot::station {
namespace {

using std::chrono::steady_clock;

constexpr std::string_view kCmpPlain = "cmp+";
constexpr const char* kPkixCmp = "application/pkixcmp";
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
  return status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

Error refusal_of(const http::Url& url, const http::Response& response) {
  std::string words(as_text(response.body));
  words = words.substr(0, std::min<std::size_t>(words.find('\n'), 300));
  auto error = [&](ErrorCode code, const char* hint) {
    return Error(code, fmt::format("{} answers with HTTP status {}", url.authority(), response.status), hint,
                 words);
  };
  if (is_passing(response.status)) {
    return error(ErrorCode::ca_unreachable, "run the same command again later: it resumes");
  }
  if (response.status == 401 || response.status == 403) {
    return error(ErrorCode::not_authorised, "ask whoever runs the CA what it logged");
  }
  return error(ErrorCode::protocol, "check the CA's address: there is no CMP at this one");
}

std::string path_for(const std::optional<OrderId>& order) {
  constexpr const char* kPath = "/.well-known/cmp";  // RFC 9811 section 3.2
  return order ? fmt::format("{}/p/{}", kPath, order->text()) : kPath;
}

class HttpTransport : public Transport {
 public:
  HttpTransport(std::vector<http::Url> urls, std::chrono::seconds timeout, std::function<Caller()> caller)
      : urls_(std::move(urls)), timeout_(timeout), caller_(std::move(caller)) {}

  // The same bytes again, until the time is over: the CA gives one certificate however often it is asked.
  Bytes exchange(BytesView message) override {
    if (!who_) who_ = caller_();
    auto deadline = steady_clock::now() + timeout_;
    auto pause = kFirstPause;
    for (;;) {
      std::optional<Error> obstacle;
      for (std::size_t i = 0; i < urls_.size(); ++i) {
        try {
          return post(message,
                      std::min(deadline, steady_clock::now() + timeout_ / static_cast<int>(urls_.size())));
        } catch (const Error& error) {
          obstacle = error;
          client_.reset();
          current_ = (current_ + 1) % urls_.size();
        }
        // Refused is refused, by whichever of them.
        if (obstacle->code() != ErrorCode::ca_unreachable &&
            obstacle->code() != ErrorCode::certificate_rejected) {
          throw Error(*obstacle);
        }
      }
      bool is_hopeless = obstacle->code() == ErrorCode::certificate_rejected;
      if (is_hopeless || steady_clock::now() + pause >= deadline) throw Error(*obstacle);
      std::this_thread::sleep_for(pause);
      pause = std::min(2 * pause, kLongestPause);
    }
  }

  void finish() override { client_.reset(); }

 private:
  Bytes post(BytesView message, steady_clock::time_point deadline) {
    const http::Url& url = urls_[current_];
    if (!client_) client_.emplace(url, url.is_tls ? std::optional(who_->tls) : std::nullopt);
    std::string path = url.path == "/" ? path_for(who_->order) : url.path;
    http::Response response = client_->exchange({.method = "POST",
                                                 .path = path,
                                                 .content_type = kPkixCmp,
                                                 .body = Bytes(message.begin(), message.end())},
                                                deadline);
    if (response.status != 200) throw refusal_of(url, response);
    return std::move(response.body);
  }

  const std::vector<http::Url> urls_;
  const std::chrono::milliseconds timeout_;
  const std::function<Caller()> caller_;
  std::optional<Caller> who_;
  std::size_t current_ = 0;
  std::optional<http::Client> client_;
};

}  // namespace

bool is_http_ca(std::string_view url) {
  return url.starts_with("https:") || url.starts_with("http:") || url.starts_with(kCmpPlain);
}

std::vector<http::Url> parse_http_ca(const std::string& url) {
  std::vector<http::Url> urls;
  for (const std::string& part : split(url)) {
    bool is_plain = part.starts_with(kCmpPlain);
    http::Url parsed = http::Url::parse(is_plain ? std::string_view(part).substr(kCmpPlain.size()) : part);
    if (parsed.is_tls == is_plain) {
      throw Error(
          ErrorCode::usage, fmt::format("\"{}\" is no way to a CA", part),
          "write https://host:port, or cmp+http://host:port/path for a CA that speaks CMP without TLS");
    }
    urls.push_back(std::move(parsed));
  }
  return urls;
}

std::unique_ptr<Transport> open_http_transport(const std::string& url, int timeout_seconds,
                                               std::function<Caller()> caller) {
  return std::make_unique<HttpTransport>(parse_http_ca(url), std::chrono::seconds(timeout_seconds),
                                         std::move(caller));
}

}  // namespace fleetroot::station
