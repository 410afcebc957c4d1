#include "factory-ca/serve.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "factory-ca/ca_key.h"
#include "factory-ca/front_identity.h"
#include "factory-ca/issuer.h"
#include "factory-ca/worker.h"
#include "lib/base/process.h"
#include "lib/base/program.h"
#include "lib/x509/host_name.h"
#include "pkcs11/pin.h"
#include "pkcs11/uri.h"

namespace fleetroot::ca {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t kSecretSize = 32;
// What was accepted may take so long to be finished; the front's part of it is Worker::kGrace.
constexpr std::chrono::seconds kStopGrace{35};
// How long after a failure a renewal of the front's certificate is tried again.
constexpr std::chrono::hours kNextTry{1};

std::string host_of(const std::string& address) {
  std::string host = address.substr(0, address.rfind(':'));
  return host.starts_with('[') ? host.substr(1, host.size() - 2) : host;
}

std::vector<std::string> server_names(const ServeOptions& options,
                                      const std::vector<http::Listener>& listeners) {
  std::vector<std::string> names = options.names;
  auto add = [&](const std::string& name) {
    if (!is_every_address(name) && std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(name);
  };
  for (const http::Listener& listener : listeners) add(host_of(listener.address()));
  for (const std::string& address : options.listen) add(host_of(address));
  if (names.empty()) {
    throw Error(ErrorCode::usage, "no name is known that stations call this server by",
                "give its name or address: --name ca.factory.example");
  }
  return names;
}

// For whoever looks at the processes of this machine: at most 15 characters.
void call_process(const char* name) {
  prctl(PR_SET_NAME, name);
}

// A child's life: what it throws goes to stderr, as it would from a command.
int run_child(const std::function<void()>& body) {
  return exit_code_of("fleetroot-ca", [&] {
    body();
    return 0;
  });
}

// A process whose token does not sign any more, or whose ledger is another one now, ends, and is started
// again: it opens what is there then, once it is back, and what it was asked for meanwhile it is asked for
// again.
void end_with(const Error& error) {
  print_error("fleetroot-ca", error);
  _exit(exit_code(error.code()));
}

// `certify` answers for the front's own request.
Task<Bytes> answer(Issuer& issuer, const Inquiry& inquiry, const std::function<Bytes(BytesView)>& certify) {
  switch (inquiry.question) {
    case Question::answer:
      co_return co_await issuer.answer(inquiry.message, inquiry.order, inquiry.peer);
    case Question::station: {
      std::string name = issuer.recognise(Certificate::from_der(inquiry.message)).name;
      co_return Bytes(name.begin(), name.end());
    }
    case Question::front:
      co_return certify(inquiry.message);
  }
  throw Error(ErrorCode::internal, "the front asked what the signer does not know", "report this");
}

// Before anything is looked up, or a revocation that the other one knows would not be heard; and before an
// answer goes out, or it could be one that no ledger knows.
void end_if_replaced(const Ledger& ledger) {
  try {
    ledger.refuse_if_replaced();
  } catch (const Error& error) {
    end_with(error);
  }
}

// In a process that keeps no ledger open.
void refuse_if_nothing_can_be_issued(const Home& home, const std::optional<OrderId>& order) {
  Ledger ledger(home.ledger());
  refuse_if_revoked(ledger, home.issuing_certificate());
  if (order) ledger.orders.get(*order);
}

void run_signer(const Home& home, const ServeOptions& options, const std::vector<std::string>& names,
                int listener) {
  call_process("ca-signer");
  Settings settings = home.settings();
  SystemClock clock;
  Ledger ledger(home.ledger());
  KeyLocation location = issuing_key_of(settings);
  location.token.when_signing_fails = end_with;
  CaKey key(location, home.issuing_certificate());
  Issuer issuer(ledger, key.signer(), key.certificate(), home.profiles(), settings.station_validity, clock,
                options.order);
  Ledger looking(home.ledger());
  issuer.look_in(looking);
  if (options.front.speaks_est) issuer.trust_registration_authority(options.front.registration_secret);
  auto certify = [&](BytesView request) {
    Bytes certificate;
    ledger.alone(
        [&] { certificate = certify_front(home, key.signer(), ledger, request, names, clock).der(); });
    return certificate;
  };
  say(Word::ready);
  auto answer_one = [&](const Inquiry& inquiry) -> Task<Bytes> {
    end_if_replaced(ledger);
    Bytes result = co_await answer(issuer, inquiry, certify);
    end_if_replaced(ledger);
    co_return result;
  };
  answer_front(listener, STDIN_FILENO, ledger, answer_one);
}

// The front's certificate: made before there is a front, and again when it is due, while one serves.
class FrontCertificate {
 public:
  FrontCertificate(const Home& home, std::vector<std::string> names)
      : home_(home), names_(std::move(names)) {}

  bool is_good() const { return has_good_front(home_, names_, SystemClock().now()); }
  // Where the home cannot be read just now, a server that runs goes on.
  bool is_due() const {
    try {
      return !is_good();
    } catch (const Error&) {
      return false;
    }
  }
  bool is_valid() const { return has_valid_front(home_, names_, SystemClock().now()); }
  // 0, or why not as an exit code; the words are on stderr then. The signer must be there.
  int renew() const {
    ChildProcess child([this] {
      return run_child([this] {
        renew_front(home_, [this](BytesView request) {
          return SignerLink(home_.file("signer.sock"))
              .ask({.question = Question::front, .message = {request.begin(), request.end()}},
                   steady_clock::now() + kStopGrace);
        });
      });
    });
    return child.wait(kStopGrace);
  }

 private:
  const Home& home_;
  std::vector<std::string> names_;
};

// Until a signal says so, or one of them may not be started again: the exit code.
int supervise(Worker& front, Worker& signer, int signals, const FrontCertificate& certificate) {
  constexpr int kLookMilliseconds = 1000 * Worker::kLook.count();
  steady_clock::time_point next_try{};
  for (;;) {
    pollfd events[3] = {{signals, POLLIN, 0}, {front.fd(), POLLIN, 0}, {signer.fd(), 0, 0}};
    if (poll(events, 3, kLookMilliseconds) < 0 && errno != EINTR) return 0;
    if (events[0].revents != 0) return 0;
    bool front_speaks = (events[1].revents & POLLIN) != 0;
    if (front_speaks && front.word() == Word::signer_is_silent)
      signer.end_if_silent_for(SignerLink::kSilence);
    bool front_has_died = !front_speaks && events[1].revents != 0;
    if (int status = front.keep_alive(front_has_died); status != 0) return status;
    if (int status = signer.keep_alive(events[2].revents != 0); status != 0) return status;
    if (steady_clock::now() < next_try || !certificate.is_due()) continue;
    // It is good for a year when it is due: where it cannot be renewed now, it is tried again later.
    next_try = steady_clock::now() + kNextTry;
    if (certificate.renew() != 0) continue;
    if (int status = front.replace(); status != 0) return status;
  }
}

}  // namespace

int serve(const Home& home, ServeOptions options,
          const std::function<void(const std::string& address)>& announce) {
  // For front and signer, while this server runs.
  if (options.front.speaks_est) options.front.registration_secret = as_text(random_bytes(kSecretSize));
  Settings settings = home.settings();
  issuing_key_of(settings);
  refuse_if_nothing_can_be_issued(home, options.order);
  std::optional<FileDescriptor> lock = try_lock_file(home.file("serve.lock"));
  if (!lock) {
    throw Error(ErrorCode::busy, fmt::format("{} is being served already", home.path().string()),
                "stop the other server first");
  }
  std::vector<http::Listener> listeners;
  for (const std::string& address : options.listen) listeners.push_back(http::Listener::bind(address));
  std::vector<std::string> names = server_names(options, listeners);
  FileDescriptor socket = listen_for_front(home.file("signer.sock"));
  // Blocked in the children too: those end with their stdin, in the order that loses nothing.
  FileDescriptor signals = watch_stop_signals();

  Worker signer(
      "signer", [&] { return run_child([&] { run_signer(home, options, names, socket.get()); }); },
      {socket.get()}, signals.get(), !pkcs11::Uri::parse(issuing_key_of(settings).token.uri).pin_source);
  std::vector<int> kept;
  for (const http::Listener& listener : listeners) kept.push_back(listener.fd());
  Worker front(
      "front",
      [&] {
        call_process("ca-front");
        // Nobody but the signer may have it.
        if (settings.issuing) pkcs11::forget_pin_variable(settings.issuing->token.uri);
        return run_child([&] {
          run_front(home, options.front, std::move(listeners), STDIN_FILENO,
                    {.ready = [] { say(Word::ready); },
                     .signer_is_silent = [] { say(Word::signer_is_silent); },
                     .signing_fails = end_with});
        });
      },
      kept, signals.get(), false);
  if (!signer.start()) return signer.wait(Worker::kUnreadyGrace);
  FrontCertificate certificate(home, names);
  if (int status = certificate.is_good() ? 0 : certificate.renew(); status != 0 && !certificate.is_valid()) {
    signer.wait(Worker::kUnreadyGrace);
    return status;
  }
  if (!front.start()) return front.wait(Worker::kUnreadyGrace);
  for (const http::Listener& listener : listeners) announce(listener.address());
  int status = supervise(front, signer, signals.get(), certificate);
  listeners.clear();  // ours too, or clients would be let in to wait for nobody
  // The front first: what it has accepted the signer still answers.
  auto deadline = steady_clock::now() + kStopGrace;
  front.wait(Worker::kGrace);
  signer.wait(std::chrono::ceil<std::chrono::seconds>(deadline - steady_clock::now()));
  unlink(home.file("signer.sock").c_str());
  return status;
}

}  // namespace fleetroot::ca
