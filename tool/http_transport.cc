#include "tool/http_transport.h"

#include <fmt/format.h>

#include "lib/base/error.h"
#include "tool/ca_client.h"
#include "tool/http_post.h"

namespace fleetroot::station {
namespace {

constexpr std::string_view kCmpPlain = "cmp+";

std::string path_for(const std::optional<OrderId>& order) {
  constexpr const char* kPath = "/.well-known/cmp";  // RFC 9811 section 3.2
  return order ? fmt::format("{}/p/{}", kPath, order->text()) : kPath;
}

class HttpTransport : public Transport {
 public:
  HttpTransport(std::vector<http::Url> urls, int timeout_seconds)
      : poster_(std::move(urls), timeout_seconds) {}

  Bytes exchange(BytesView message, const Caller& caller) override {
    auto path = [&](const http::Url& url) { return url.path.empty() ? path_for(caller.order) : url.path; };
    http::Response response = poster_.send(
        {.content_type = "application/pkixcmp", .body = Bytes(message.begin(), message.end()), .path = path},
        caller.tls());
    if (response.status == 200) return std::move(response.body);
    throw refusal_of(poster_.server(), response, "there is no CMP at this one");
  }

  bool has_lost_an_answer() const override { return poster_.has_lost_an_answer(); }
  bool has_sent() const override { return poster_.has_sent(); }
  void finish() override { poster_.close(); }

 private:
  HttpPoster poster_;
};

}  // namespace

bool is_http_ca(std::string_view url) {
  return url.starts_with("https:") || url.starts_with("http:") || url.starts_with(kCmpPlain);
}

std::vector<http::Url> parse_http_ca(const std::string& url) {
  bool is_plain = url.starts_with(kCmpPlain);
  std::vector<http::Url> urls = is_plain ? parse_addresses(url, kCmpPlain, "cmp+http://host:port/path")
                                         : parse_addresses(url, {}, "https://host:port");
  std::size_t begin = 0;
  for (http::Url& each : urls) {
    std::string_view address = std::string_view(url).substr(begin, url.find(',', begin) - begin);
    begin += address.size() + 1;
    // Without TLS, "/" is a path that somebody else's CA may have.
    bool is_named = each.path != "/" || (is_plain && address.ends_with('/'));
    if (!is_named) each.path.clear();
    if (each.is_tls != is_plain) continue;
    throw Error(ErrorCode::usage, fmt::format("\"{}\" is no way to a CA", url),
                "write https://host:port, or cmp+http://host:port/path for a CA that speaks CMP without TLS");
  }
  return urls;
}

std::unique_ptr<Transport> open_http_transport(const std::string& url, int timeout_seconds) {
  return std::make_unique<HttpTransport>(parse_http_ca(url), timeout_seconds);
}

}  // namespace fleetroot::station
