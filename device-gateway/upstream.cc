#include "device-gateway/upstream.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "device-gateway/answers.h"

namespace fleetroot::gateway {
namespace {

constexpr int kConnections = 8;
constexpr std::size_t kMaximumWaiting = 1024;
constexpr std::chrono::seconds kPatience{30};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// What belongs to one connection (RFC 9110 section 7.6.1), or is written anew, or is ours to say.
bool goes_on(const http::Header& header) {
  constexpr std::array<std::string_view, 12> kStays{
      "connection", "keep-alive",        "proxy-authenticate", "proxy-authorization", "te",   "trailer",
      "upgrade",    "transfer-encoding", "content-length",     "content-type",        "host", "expect"};
  std::string name = lower(header.name);
  return std::find(kStays.begin(), kStays.end(), name) == kStays.end() && !name.starts_with("x-fleetroot-");
}

std::vector<http::Header> going_on(const std::vector<http::Header>& headers) {
  std::vector<http::Header> kept;
  std::copy_if(headers.begin(), headers.end(), std::back_inserter(kept), goes_on);
  return kept;
}

}  // namespace

Upstream::Upstream(const std::string& url) : url_(http::Url::parse(url)) {
  if (url_.is_tls || url_.path != "/") {
    throw Error(ErrorCode::configuration, fmt::format("{} is no upstream service", url),
                "write it like http://127.0.0.1:8080");
  }
  for (int i = 0; i < kConnections; ++i) threads_.emplace_back([this] { run(); });
}

Upstream::~Upstream() {
  {
    std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Upstream::forward(const http::Request& request, std::vector<http::Header> identity, http::Reply reply) {
  http::Outgoing outgoing{.method = request.method,
                          .path = request.query.empty() ? request.path : request.path + "?" + request.query,
                          .content_type = std::string(request.header("content-type")),
                          .body = request.body,
                          .headers = going_on(request.headers)};
  for (http::Header& header : identity) outgoing.headers.push_back(std::move(header));
  std::unique_lock lock(mutex_);
  if (errands_.size() >= kMaximumWaiting) {
    lock.unlock();
    reply(refusal_answer(503, Refusal::upstream_unreachable, "too many requests wait for the service"));
    return;
  }
  errands_.push_back({std::move(outgoing), std::move(reply)});
  changed_.notify_one();
}

void Upstream::run() {
  http::Client client(url_, std::nullopt);
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return is_stopping_ || !errands_.empty(); });
    if (errands_.empty()) return;
    Errand errand = std::move(errands_.front());
    errands_.pop_front();
    lock.unlock();
    try {
      http::Response response = client.exchange(errand.request, std::chrono::steady_clock::now() + kPatience);
      response.headers = going_on(response.headers);
      errand.reply(std::move(response));
    } catch (const Error& error) {
      errand.reply(refusal_answer(502, Refusal::upstream_unreachable, error.message()));
    }
    lock.lock();
  }
}

}  // namespace fleetroot::gateway
