// Who is connected, what each connection waits for and until when, and which one gives way when it is full
// (Limits in server.h). For this folder only. Any thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "lib/http/message.h"
#include "lib/http/server.h"

namespace fleetroot::http {

// What a connection is doing. In all but one, answering, it waits for its client.
enum class Stage { handshake, idle, reading, answering, writing, lingering };

class Connections {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  enum class Reason { not_wanted, overdue };
  // Makes the connection's coroutine end, soon, on its own thread. Called under this table's lock.
  using Close = std::function<void(Reason)>;

  explicit Connections(const Limits& limits) : limits_(limits) {}

  // A place for a new connection: its number. Nothing if there is none.
  std::optional<std::uint64_t> admit(const std::string& address, Close close, TimePoint now);
  void remove(std::uint64_t connection);

  // False if the connection is to end instead: it gave way, or the server stops.
  bool enter(std::uint64_t connection, Stage stage, TimePoint now);
  void set_peer(const Peer& peer);
  // The handshake is done: a client with a certificate is who its peer says, and no stranger any more. False
  // if it has too many connections, and all the others are being answered.
  bool arrive(std::uint64_t connection, TimePoint now);
  // Counts one request of this address; false if there were too many within a second.
  bool may_request(const std::string& address, TimePoint now);

  void close_overdue(TimePoint now);
  void close_if(const std::function<bool(const Peer&)>& is_meant);
  // No connection becomes idle again, and those that are go now.
  void begin_to_stop();
  bool is_stopping() const;
  // False if some are left at the deadline.
  bool wait_until_empty(TimePoint deadline);
  std::size_t size() const;

 private:
  struct Connection {
    Peer peer;
    Close close;
    Stage stage = Stage::handshake;
    TimePoint since;
    TimePoint deadline;
    bool is_stranger = true;   // has proven no checked certificate's key, and counts among its address's
    bool has_arrived = false;  // and counts among its client's
    bool is_closed = false;    // told to end; it no longer takes a place
  };
  struct Rate {
    double tokens;
    TimePoint counted;
  };
  using Table = std::map<std::uint64_t, Connection>;

  template <typename IsAmong>
  bool make_room(IsAmong is_among, TimePoint now);
  auto rank(const Connection& connection, TimePoint now) const;
  void close(Connection& connection, Reason reason = Reason::not_wanted);
  std::chrono::milliseconds patience(Stage stage) const;

  const Limits limits_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Table table_;
  std::size_t open_ = 0;
  std::map<std::string, std::size_t> open_from_;       // by address
  std::map<std::string, std::size_t> open_of_;         // by client
  std::map<std::string, std::size_t> strangers_from_;  // by address
  std::map<std::string, Rate> rates_;
  std::uint64_t last_ = 0;
  bool is_stopping_ = false;
};

}  // namespace fleetroot::http
