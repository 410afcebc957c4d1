#include "factory-ca/front.h"

#include <fmt/format.h>
#include <poll.h>

#include <atomic>
#include <cerrno>

#include "factory-ca/certificate_plan.h"
#include "factory-ca/est.h"
#include "factory-ca/front_identity.h"
#include "factory-ca/refusals.h"
#include "factory-ca/work_queue.h"
#include "lib/cmp/message.h"
#include "lib/cmp/registration_authority.h"
#include "lib/x509/certs_only.h"
#include "lib/x509/chain.h"

namespace fleetroot::ca {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kSignerPatience{60};
// So many requests may wait for the signer at the same time.
constexpr unsigned kAsking = 64;
constexpr std::chrono::seconds kGrace{30};
constexpr std::string_view kCmpPath = "/.well-known/cmp";
constexpr const char* kPkixCmp = "application/pkixcmp";
constexpr const char* kPkcs10 = "application/pkcs10";
constexpr const char* kCertsOnly = "application/pkcs7-mime; smime-type=certs-only";
constexpr const char* kCsrAttributes = "application/csrattrs";

// What a path below /.well-known/cmp names (RFC 9811 section 3.2, RFC 9483 section 6.1): an order as
// /p/ORDER, and p10 as the operation, which the message says as well. Nothing for any other path.
struct CmpPath {
  std::optional<OrderId> order;
};

std::optional<CmpPath> parse_cmp_path(std::string_view path) {
  if (!path.starts_with(kCmpPath)) return std::nullopt;
  path.remove_prefix(kCmpPath.size());
  if (path.ends_with('/')) path.remove_suffix(1);
  CmpPath result;
  if (path.starts_with("/p/")) {
    path.remove_prefix(3);
    std::string_view order = path.substr(0, path.find('/'));
    path.remove_prefix(order.size());
    try {
      result.order = OrderId::parse(order);
    } catch (const Error&) {
      return std::nullopt;
    }
  }
  if (!path.empty() && path != "/p10") return std::nullopt;
  return result;
}

http::Response response_to(const Error& error) {
  unsigned status = 500;
  if (error.code() == ErrorCode::busy) status = 503;
  // What is refused today will be refused tomorrow.
  bool is_refused = exit_code(error.code()) == exit_code(ErrorCode::bad_request);
  if (is_refused || error.code() == ErrorCode::protocol) status = 400;
  if (error.code() == ErrorCode::not_authorised) status = 403;
  return http::Response::text(status, fmt::format("{}. {}\n", error.message(), error.hint()));
}

http::Response in_base64(const char* content_type, Bytes body) {
  return {.status = 200,
          .content_type = content_type,
          .body = std::move(body),
          .headers = {{"Content-Transfer-Encoding", "base64"}}};
}

// What HTTP has against a request; nothing if it is good. Where there is no body, its type is nobody's
// business.
std::optional<http::Response> reason_against(const http::Request& request, const char* method,
                                             std::string_view content_type) {
  if (request.method != method) {
    http::Response response = http::Response::text(405, fmt::format("this takes {}\n", method));
    response.headers.push_back({"Allow", method});
    return response;
  }
  if (content_type.empty() || request.content_type() == content_type) return std::nullopt;
  return http::Response::text(415, fmt::format("this takes {}\n", content_type));
}

class Front {
 public:
  Front(const Home& home, const FrontSettings& settings, const FrontReports& reports)
      : settings_(settings),
        identity_(home, reports.signing_fails),
        fleet_root_(home.fleet_root()),
        issuing_(home.issuing_certificate()),
        registration_(issuing_, settings.registration_secret),
        link_(home.file("signer.sock"), reports.signer_is_silent) {}

  http::ServerTls tls() {
    http::ServerTls tls{.identity = {.chain = identity_.chain(), .key = identity_.key()}};
    if (settings_.wants_station_certificate) {
      tls.client_certificate =
          settings_.speaks_est ? http::ClientCertificate::optional : http::ClientCertificate::required;
      tls.check = [this](http::Peer& peer) {
        telling(Refusals::Kind::no_stations_certificate, peer,
                [&] { refuse_unless_stations_certificate(*peer.certificate); });
        peer.note = std::make_shared<std::atomic<bool>>(false);
      };
    }
    return tls;
  }

  // Of those who do not get past the handshake, and have shown nothing to check.
  void hear_of(const http::Peer& peer, http::Trouble trouble, const std::string& words) {
    using Kind = Refusals::Kind;
    if (trouble == http::Trouble::no_certificate) tell_of_no_certificate(peer);
    if (trouble == http::Trouble::old_tls)
      refusals_.tell(Kind::old_tls, peer.address, "it speaks neither TLS 1.3 nor 1.2");
    if (trouble == http::Trouble::handshake) refusals_.tell(Kind::handshake, peer.address, words);
  }

  void take(http::Request request, http::Reply reply) {
    std::optional<EstPath> est = settings_.speaks_est ? parse_est_path(request.path) : std::nullopt;
    if (est) return take_est(*est, std::move(request), std::move(reply));
    std::optional<CmpPath> path = parse_cmp_path(request.path);
    if (!path) {
      const char* est_too = settings_.speaks_est ? ", EST at /.well-known/est" : "";
      return reply(
          http::Response::text(404, fmt::format("nothing is here; CMP is at {}{}\n", kCmpPath, est_too)));
    }
    std::optional<http::Response> refusal = reason_against(request, "POST", kPkixCmp);
    if (!refusal && settings_.wants_station_certificate) refusal = reason_against_peer(request.peer);
    if (refusal) return reply(std::move(*refusal));
    http::Peer peer = std::move(request.peer);
    answer_later(std::move(reply), peer, [this, path, peer, body = std::move(request.body)] {
      Inquiry inquiry{.question = Question::answer, .order = path->order, .message = body};
      if (peer.certificate) inquiry.peer = key_identifier_of(peer.certificate->public_key());
      return http::Response{.status = 200, .content_type = kPkixCmp, .body = ask(inquiry)};
    });
  }

 private:
  // Whoever is refused is told of.
  template <typename Check>
  void telling(Refusals::Kind kind, const http::Peer& peer, Check check) {
    try {
      check();
    } catch (const Error& error) {
      refusals_.tell(kind, peer.address, error.what());
      throw;
    }
  }

  void tell_of_no_certificate(const http::Peer& peer) {
    refusals_.tell(Refusals::Kind::no_certificate, peer.address, "it shows no certificate");
  }

  // Whoever has presented a certificate is one of this CA's stations: the handshake let nobody else in.
  std::optional<http::Response> reason_against_peer(const http::Peer& peer) {
    if (peer.certificate) return std::nullopt;
    tell_of_no_certificate(peer);
    return http::Response::text(403, "this takes a station's certificate\n");
  }

  // In the handshake, where nobody has proven a key yet: of one of this CA's stations, and in time.
  void refuse_unless_stations_certificate(const Certificate& certificate) const {
    verify_chain(certificate, {.roots = {fleet_root_},
                               .intermediates = {issuing_},
                               .purpose = ChainPurpose::any,
                               .time = SystemClock().now()});
    if (certificate.has_extended_key_usage(NID_cmcRA)) return;
    throw Error(ErrorCode::not_authorised,
                fmt::format("{} is no certificate of a station", certificate.subject()),
                "connect with a station's certificate");
  }

  // Enrolled, and not revoked: the signer knows, which is asked before a connection's first answer to a
  // station.
  void refuse_unless_enrolled(const http::Peer& peer) {
    const auto* is_known = std::any_cast<std::shared_ptr<std::atomic<bool>>>(&peer.note);
    if (is_known == nullptr || **is_known) return;
    telling(Refusals::Kind::no_enrolled_station, peer,
            [&] { ask({.question = Question::station, .message = peer.certificate->der()}); });
    **is_known = true;
  }

  void take_est(const EstPath& path, http::Request request, http::Reply reply) {
    bool enrolls = path.operation == EstOperation::enroll || path.operation == EstOperation::reenroll;
    std::optional<http::Response> refusal =
        enrolls ? reason_against(request, "POST", kPkcs10) : reason_against(request, "GET", {});
    if (!refusal && path.operation != EstOperation::cacerts) refusal = reason_against_peer(request.peer);
    if (refusal) return reply(std::move(*refusal));
    if (path.operation == EstOperation::cacerts) {
      std::vector<Certificate> certificates{fleet_root_};
      if (issuing_ != fleet_root_) certificates.push_back(issuing_);
      return reply(in_base64(kCertsOnly, encode_certs_only(certificates)));
    }
    http::Peer peer = std::move(request.peer);
    if (!enrolls) {
      auto answer = [] { return in_base64(kCsrAttributes, csr_attributes()); };
      return answer_later(std::move(reply), std::move(peer), answer);
    }
    answer_later(std::move(reply), peer, [this, path, peer, body = std::move(request.body)] {
      cmp::Behalf behalf{.certificate = peer.certificate->der(),
                         .may_renew = path.operation == EstOperation::reenroll};
      auto transfer = [&](BytesView message) {
        return ask(
            {.question = Question::answer, .order = path.order, .message = {message.begin(), message.end()}});
      };
      Bytes certificate = registration_.enroll(decode_base64(body), std::move(behalf), transfer);
      return in_base64(kCertsOnly, encode_certs_only({Certificate::from_der(certificate)}));
    });
  }

  // Away from the connections' threads, which must not wait for the signer.
  template <typename Body>
  void answer_later(http::Reply reply, http::Peer peer, Body body) {
    auto shared = std::make_shared<http::Reply>(std::move(reply));  // a std::function wants to be copied
    work_.add([this, shared, peer = std::move(peer), body = std::move(body)] {
      try {
        refuse_unless_enrolled(peer);
        (*shared)(body());
      } catch (const Error& error) {
        (*shared)(response_to(error));
      }
    });
  }

  Bytes ask(const Inquiry& inquiry) { return link_.ask(inquiry, steady_clock::now() + kSignerPatience); }

  const FrontSettings settings_;
  FrontIdentity identity_;
  Certificate fleet_root_;
  Certificate issuing_;
  cmp::RegistrationAuthority registration_;
  Refusals refusals_;
  SignerLink link_;
  WorkQueue work_{kAsking};
};

void wait_for_end(int lifeline) {
  pollfd end{lifeline, POLLIN, 0};
  while (poll(&end, 1, -1) < 0 && errno == EINTR) {
  }
}

}  // namespace

void run_front(const Home& home, const FrontSettings& settings, std::vector<http::Listener> listeners,
               int lifeline, const FrontReports& reports) {
  Front front(home, settings, reports);
  http::Server server(
      {.listeners = std::move(listeners),
       .tls = front.tls(),
       .limits = settings.limits,
       .on_trouble = [&front](const http::Peer& peer, http::Trouble trouble,
                              const std::string& words) { front.hear_of(peer, trouble, words); }},
      [&front](http::Request request, http::Reply reply) {
        front.take(std::move(request), std::move(reply));
      });
  reports.ready();
  wait_for_end(lifeline);
  server.stop(kGrace);
}

}  // namespace fleetroot::ca
