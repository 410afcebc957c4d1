#include "device-gateway/upstream.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "device-gateway/answers.h"

namespace fleetroot::gateway {
namespace {

constexpr int kConnections = 8;
constexpr std::size_t kMaximumWaiting = 1024;
// Fewer than there are connections: one device alone does not hold them all.
constexpr int kMaximumOfOneDevice = 4;
constexpr std::chrono::seconds kPatience{30};
constexpr unsigned kNoContent = 204;  // which has no length

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

// The names that a Connection header lists, for those between whom it is: RFC 9110 section 7.6.1.
std::string nominated(const std::vector<http::Header>& headers) {
  std::string names = ",";
  for (const http::Header& header : headers) {
    if (lower(header.name) != "connection") continue;
    std::string value = lower(header.value);
    std::erase_if(value, [](char c) { return c == ' ' || c == '\t'; });
    names += value + ",";
  }
  return names;
}

// But what belongs to one connection, or is written anew, or is ours to say.
std::vector<http::Header> going_on(const std::vector<http::Header>& headers) {
  constexpr std::array<std::string_view, 12> kStays{
      "connection", "keep-alive",        "proxy-authenticate", "proxy-authorization", "te",   "trailer",
      "upgrade",    "transfer-encoding", "content-length",     "content-type",        "host", "expect"};
  const std::string of_connection = nominated(headers);
  std::vector<http::Header> kept;
  for (const http::Header& header : headers) {
    std::string name = lower(header.name);
    bool stays = std::find(kStays.begin(), kStays.end(), name) != kStays.end() ||
                 !std::all_of(name.begin(), name.end(), is_plain) || name.starts_with("x-fleetroot-") ||
                 of_connection.find("," + name + ",") != std::string::npos;
    if (!stays) kept.push_back(header);
  }
  return kept;
}

// RFC 9110 section 9.2.2.
bool is_idempotent(const std::string& method) {
  constexpr std::array<std::string_view, 6> kIdempotent{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};
  return std::find(kIdempotent.begin(), kIdempotent.end(), method) != kIdempotent.end();
}

}  // namespace

Upstream::Upstream(const http::Url& url, UpstreamRefusal on_refusal) : on_refusal_(std::move(on_refusal)) {
  for (int i = 0; i < kConnections; ++i) {
    http::Client& client = clients_.emplace_back(url, std::nullopt);
    threads_.emplace_back([this, &client] { run(client); });
  }
}

Upstream::~Upstream() {
  {
    std::lock_guard lock(mutex_);
    is_stopping_ = true;
    errands_.clear();
  }
  for (http::Client& client : clients_) client.give_up();
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Upstream::forward(const http::Request& request, const DeviceId& device, const std::string& environment,
                       http::Reply reply) {
  if (request.method == "CONNECT") {
    constexpr const char* kWords = "this is no tunnel";
    on_refusal_(Refusal::not_found, request.peer.address, device.text(), kWords);
    reply(refusal_answer(405, Refusal::not_found, kWords));
    return;
  }
  http::Outgoing outgoing{.method = request.method,
                          .path = request.query.empty() ? request.path : request.path + "?" + request.query,
                          .content_type = std::string(request.header("content-type")),
                          .body = request.body,
                          .headers = going_on(request.headers),
                          .may_repeat = is_idempotent(request.method)};
  outgoing.headers.push_back({kDeviceIdHeader, device.text()});
  outgoing.headers.push_back({kEnvironmentHeader, environment});
  std::unique_lock lock(mutex_);
  int& open = open_[device.text()];
  if (is_stopping_ || errands_.size() >= kMaximumWaiting || open >= kMaximumOfOneDevice) {
    if (open == 0) open_.erase(device.text());
    lock.unlock();
    constexpr const char* kWords = "too many requests wait for the service";
    on_refusal_(Refusal::upstream_unreachable, request.peer.address, device.text(), kWords);
    reply(refusal_answer(503, Refusal::upstream_unreachable, kWords));
    return;
  }
  ++open;
  errands_.push_back({device.text(), request.peer.address, std::move(outgoing), std::move(reply)});
  changed_.notify_one();
}

void Upstream::run(http::Client& client) {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return is_stopping_ || !errands_.empty(); });
    if (is_stopping_) return;
    Errand errand = std::move(errands_.front());
    errands_.pop_front();
    lock.unlock();
    http::Response response = ask(client, errand);
    lock.lock();
    // Before the answer: a device that has it may ask again at once.
    auto open = open_.find(errand.device);
    if (--open->second == 0) open_.erase(open);
    lock.unlock();
    errand.reply(std::move(response));
    lock.lock();
  }
}

// Where the service is, and what is wrong with it, is for our log alone.
http::Response Upstream::ask(http::Client& client, const Errand& errand) const {
  try {
    http::Response response = client.exchange(errand.request, std::chrono::steady_clock::now() + kPatience);
    std::string length(response.header("content-length"));
    response.headers = going_on(response.headers);
    response.is_head_alone = errand.request.method == "HEAD";
    if (response.is_head_alone && !length.empty() && response.status != kNoContent)
      response.headers.push_back({"Content-Length", length});
    return response;
  } catch (const std::exception& error) {
    on_refusal_(Refusal::upstream_unreachable, errand.address, errand.device, error.what());
    return refusal_answer(502, Refusal::upstream_unreachable);
  }
}

}  // namespace fleetroot::gateway
