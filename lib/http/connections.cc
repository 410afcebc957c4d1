#include "lib/http/connections.h"

#include <algorithm>
#include <limits>
#include <tuple>

namespace fleetroot::http {
namespace {

// Addresses that were quiet for a second are forgotten when this many are known.
constexpr std::size_t kManyAddresses = 4096;

// For a client to stop sending and read why it was refused.
constexpr std::chrono::milliseconds kLinger{2000};

// Whose handshake takes longer has had its chance.
constexpr std::chrono::milliseconds kShakesHands{2000};

// Who takes longer over its answer is not in a hurry.
constexpr std::chrono::milliseconds kTakesAnswer{2000};

void count_down(std::map<std::string, std::size_t>& counts, const std::string& name) {
  auto count = counts.find(name);
  if (--count->second == 0) counts.erase(count);
}

bool is_full(const std::map<std::string, std::size_t>& counts, const std::string& name, std::size_t maximum) {
  auto count = counts.find(name);
  return count != counts.end() && count->second >= maximum;
}

bool waits_for_client(Stage stage, std::chrono::steady_clock::duration since) {
  if (stage == Stage::writing) return since >= kTakesAnswer;
  return stage != Stage::answering;
}

}  // namespace

std::chrono::milliseconds Connections::patience(Stage stage) const {
  switch (stage) {
    case Stage::handshake:
      return limits_.handshake;
    case Stage::idle:
      return limits_.idle;
    case Stage::reading:
      return limits_.headers;
    case Stage::answering:
      return limits_.answer;
    case Stage::writing:
      return limits_.writing;
    case Stage::lingering:
      return kLinger;
  }
  return {};
}

void Connections::close(Connection& connection, Reason reason) {
  if (connection.is_closed) return;
  connection.is_closed = true;
  --open_;
  count_down(open_from_, connection.peer.address);
  if (connection.is_stranger) count_down(strangers_from_, connection.peer.address);
  if (connection.has_arrived) count_down(open_of_, connection.peer.client);
  connection.close(reason);
}

// Who gives way first: a stranger before who is known, a stranger's young handshake after the other
// strangers, a stranger from where most of them are, who does not take its answer after who waits for
// something else, of those who are known an idle one, and then who has waited longest.
auto Connections::rank(const Connection& c, TimePoint now) const {
  bool is_young = c.stage == Stage::handshake && now - c.since < kShakesHands;
  std::size_t crowd = c.is_stranger ? strangers_from_.at(c.peer.address) : 0;
  return std::tuple(!c.is_stranger, is_young, std::numeric_limits<std::size_t>::max() - crowd,
                    c.stage == Stage::writing, !c.is_stranger && c.stage != Stage::idle, c.since);
}

// Sends away the one among these that waits and ranks first. False if nobody waits.
template <typename IsAmong>
bool Connections::make_room(IsAmong is_among, TimePoint now) {
  Connection* first = nullptr;
  for (auto& [number, connection] : table_) {
    bool may_go = !connection.is_closed && waits_for_client(connection.stage, now - connection.since) &&
                  is_among(connection);
    if (may_go && (first == nullptr || rank(connection, now) < rank(*first, now))) first = &connection;
  }
  if (first == nullptr) return false;
  close(*first);
  return true;
}

std::optional<std::uint64_t> Connections::admit(const std::string& address, Close close, TimePoint now) {
  std::lock_guard lock(mutex_);
  if (is_stopping_) return std::nullopt;
  auto is_from_here = [&](const Connection& other) { return other.peer.address == address; };
  auto is_any = [](const Connection&) { return true; };
  if (is_full(open_from_, address, limits_.connections_per_address) && !make_room(is_from_here, now))
    return std::nullopt;
  if (open_ >= limits_.connections && !make_room(is_any, now)) return std::nullopt;
  std::uint64_t number = ++last_;
  Connection connection;
  connection.peer.address = address;
  connection.peer.connection = number;
  connection.close = std::move(close);
  connection.since = now;
  connection.deadline = now + limits_.handshake;
  table_.emplace(number, std::move(connection));
  ++open_;
  ++open_from_[address];
  ++strangers_from_[address];
  return number;
}

void Connections::remove(std::uint64_t number) {
  std::lock_guard lock(mutex_);
  auto found = table_.find(number);
  if (found == table_.end()) return;
  found->second.close = [](Reason) {};
  close(found->second);
  table_.erase(found);
  changed_.notify_all();
}

bool Connections::enter(std::uint64_t number, Stage stage, TimePoint now) {
  std::lock_guard lock(mutex_);
  Connection& connection = table_.at(number);
  if (connection.is_closed || (is_stopping_ && stage == Stage::idle)) return false;
  bool reads_on = connection.stage == Stage::reading && stage == Stage::reading;
  connection.stage = stage;
  connection.since = now;
  connection.deadline = now + (reads_on ? limits_.request_body : patience(stage));
  return true;
}

void Connections::set_peer(const Peer& peer) {
  std::lock_guard lock(mutex_);
  table_.at(peer.connection).peer = peer;
}

bool Connections::arrive(std::uint64_t number, TimePoint now) {
  std::lock_guard lock(mutex_);
  Connection& connection = table_.at(number);
  if (connection.is_closed) return false;
  if (connection.peer.certificate) {
    connection.is_stranger = false;
    count_down(strangers_from_, connection.peer.address);
  }
  const std::string& client = connection.peer.client;
  if (client.empty()) return true;
  auto is_its_own = [&](const Connection& other) { return other.has_arrived && other.peer.client == client; };
  if (is_full(open_of_, client, limits_.connections_per_client) && !make_room(is_its_own, now)) return false;
  connection.has_arrived = true;
  ++open_of_[client];
  return true;
}

bool Connections::may_request(const std::string& address, TimePoint now) {
  if (!limits_.requests_per_second_per_address) return true;
  const double maximum = *limits_.requests_per_second_per_address;
  std::lock_guard lock(mutex_);
  if (rates_.size() >= kManyAddresses) {
    std::erase_if(rates_,
                  [&](const auto& entry) { return now - entry.second.counted >= std::chrono::seconds(1); });
  }
  Rate& rate = rates_.try_emplace(address, Rate{.tokens = maximum, .counted = now}).first->second;
  double elapsed = std::chrono::duration<double>(now - rate.counted).count();
  rate.tokens = std::min(maximum, rate.tokens + elapsed * maximum);
  rate.counted = now;
  if (rate.tokens < 1) return false;
  rate.tokens -= 1;
  return true;
}

void Connections::close_overdue(TimePoint now) {
  std::lock_guard lock(mutex_);
  for (auto& [number, connection] : table_) {
    if (now >= connection.deadline) close(connection, Reason::overdue);
  }
}

void Connections::close_if(const std::function<bool(const Peer&)>& is_meant) {
  std::lock_guard lock(mutex_);
  for (auto& [number, connection] : table_) {
    if (!connection.is_closed && is_meant(connection.peer)) close(connection);
  }
}

void Connections::begin_to_stop() {
  std::lock_guard lock(mutex_);
  is_stopping_ = true;
  for (auto& [number, connection] : table_) {
    if (connection.stage == Stage::idle) close(connection);
  }
}

bool Connections::is_stopping() const {
  std::lock_guard lock(mutex_);
  return is_stopping_;
}

bool Connections::wait_until_empty(TimePoint deadline) {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [&] { return table_.empty(); });
}

std::size_t Connections::size() const {
  std::lock_guard lock(mutex_);
  return open_;
}

}  // namespace fleetroot::http
