#include "lib/http/server.h"

#include <sys/resource.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <list>
#include <mutex>
#include <thread>

#include "lib/base/error.h"
#include "lib/http/connection.h"

namespace fleetroot::http {
namespace {

using asio::ip::tcp;
using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kSweepInterval{200};
// Files that are open for other reasons.
constexpr std::size_t kOtherFiles = 128;

// As many files as the connections need, as far as the system lets us; fewer connections otherwise.
Limits with_enough_files(Limits limits) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  rlim_t wanted = limits.connections * limits.servers + kOtherFiles;
  if (files.rlim_cur < wanted) {
    files.rlim_cur = std::min(wanted, files.rlim_max);
    setrlimit(RLIMIT_NOFILE, &files);
  }
  std::size_t for_connections = files.rlim_cur - std::min<rlim_t>(files.rlim_cur / 2, kOtherFiles);
  limits.connections = std::min(limits.connections, for_connections / limits.servers);
  return limits;
}

}  // namespace

Reply::~Reply() {
  if (deliver_) deliver_(Response::text(500, "the server failed to answer\n"));
}

void Reply::operator()(Response response) {
  Deliver deliver = std::exchange(deliver_, nullptr);
  if (deliver) deliver(std::move(response));
}

class Server::State {
 public:
  State(ServerSettings settings, Handler handler)
      : shared_(std::make_shared<Shared>(with_enough_files(settings.limits), std::move(handler),
                                         std::move(settings.on_trouble))) {
    if (settings.tls) use(*settings.tls);
    for (Listener& listener : settings.listeners) {
      addresses.push_back(listener.address());
      bool is_ipv6 = listener.address().starts_with('[');
      int fd = std::move(listener).release().release();
      acceptors_.emplace_back(asio::make_strand(shared_->context), is_ipv6 ? tcp::v6() : tcp::v4(), fd);
    }
    for (tcp::acceptor& acceptor : acceptors_) spawn(acceptor.get_executor(), accept(acceptor));
    spawn(sweep_timer_.get_executor(), sweep());
    for (unsigned i = 0; i < std::max(1U, settings.threads); ++i) {
      threads_.emplace_back([context = &shared_->context] { context->run(); });
    }
  }

  void use(const ServerTls& tls) {
    std::shared_ptr<SSL_CTX> context(make_context(tls).release(), SSL_CTX_free);
    std::lock_guard lock(tls_mutex_);
    tls_ = std::move(context);
    check_ = tls.check;
    arrival_ = tls.arrival;
  }

  Connections& connections() { return shared_->connections; }

  void stop(std::chrono::milliseconds grace) {
    if (threads_.empty()) return;
    auto deadline = steady_clock::now() + grace;
    for (tcp::acceptor& acceptor : acceptors_) {
      asio::post(acceptor.get_executor(), [&acceptor] { acceptor.close(); });
    }
    connections().begin_to_stop();
    if (!connections().wait_until_empty(deadline)) connections().close_if([](const Peer&) { return true; });
    asio::post(sweep_timer_.get_executor(), [this] {
      has_swept_ = true;
      sweep_timer_.cancel();
    });
    // Each ends when nothing is left that could happen.
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  std::vector<std::string> addresses;

 private:
  static void spawn(const asio::any_io_executor& executor, asio::awaitable<void> body) {
    asio::co_spawn(executor, std::move(body), asio::detached);
  }

  asio::awaitable<void> accept(tcp::acceptor& acceptor) {
    while (acceptor.is_open()) {
      boost::system::error_code error;
      tcp::endpoint from;
      auto token = asio::redirect_error(asio::use_awaitable, error);
      auto strand = asio::make_strand(shared_->context);
      tcp::socket socket = co_await acceptor.async_accept(strand, from, token);
      if (error == asio::error::operation_aborted) co_return;
      if (error) {
        // No file descriptor, or no memory: others must go first.
        asio::steady_timer pause(acceptor.get_executor(), kSweepInterval);
        co_await pause.async_wait(token);
        continue;
      }
      begin(std::move(socket), from.address().to_string());
    }
  }

  void begin(tcp::socket socket, const std::string& address) {
    std::unique_lock lock(tls_mutex_);
    std::shared_ptr<SSL_CTX> tls = tls_;
    PeerCheck check = check_;
    PeerArrival arrival = arrival_;
    lock.unlock();
    try {
      auto connection = std::make_shared<Connection>(shared_, std::move(socket), std::move(tls),
                                                     std::move(check), std::move(arrival));
      connection->start(address);
    } catch (const std::exception&) {
      // The client went away before it was greeted.
    }
  }

  asio::awaitable<void> sweep() {
    boost::system::error_code cancelled;
    auto token = asio::redirect_error(asio::use_awaitable, cancelled);
    while (!has_swept_) {
      sweep_timer_.expires_after(kSweepInterval);
      co_await sweep_timer_.async_wait(token);
      connections().close_overdue(steady_clock::now());
    }
  }

  std::shared_ptr<Shared> shared_;
  std::mutex tls_mutex_;
  std::shared_ptr<SSL_CTX> tls_;  // shared with the connections that began under it
  PeerCheck check_;
  PeerArrival arrival_;
  std::list<tcp::acceptor> acceptors_;
  asio::steady_timer sweep_timer_{asio::make_strand(shared_->context)};
  bool has_swept_ = false;
  std::vector<std::thread> threads_;
};

Server::Server(ServerSettings settings, Handler handler)
    : state_(std::make_shared<State>(std::move(settings), std::move(handler))) {}

Server::~Server() {
  stop(std::chrono::milliseconds(0));
}

const std::vector<std::string>& Server::addresses() const {
  return state_->addresses;
}

void Server::use(const ServerTls& tls) {
  state_->use(tls);
}

void Server::close_connections(const std::function<bool(const Peer&)>& is_meant) {
  state_->connections().close_if(is_meant);
}

std::size_t Server::connection_count() const {
  return state_->connections().size();
}

void Server::stop(std::chrono::milliseconds grace) {
  state_->stop(grace);
}

}  // namespace fleetroot::http
