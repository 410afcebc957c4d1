#include "tool/est_client.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/x509/certs_only.h"
#include "tool/http_post.h"

namespace fleetroot::station {
namespace {

constexpr std::string_view kEst = "est+";

// RFC 7030 section 4.2.3: without a type, words for people. HTML comes from whatever stands in between.
bool is_in_words(const http::Response& response) {
  std::string type = http::media_type_of(response.content_type);
  return type.empty() || type == "text/plain";
}

// The CA's own words, where it has any.
Error refusal_by_est(const http::Url& server, const http::Response& response) {
  if (response.status == 202) {
    return {ErrorCode::busy, "the CA has not decided yet and asks to wait",
            "run the same command again later: it resumes"};
  }
  Error refusal = refusal_of(server, response, "there is no EST at this one");
  bool is_said = response.status == 400 && is_in_words(response) && !refusal.cause().empty();
  if (!is_said) return refusal;
  return {ErrorCode::refused_by_ca, fmt::format("the CA refuses: {}", refusal.cause()),
          "hold this device, and ask whoever runs the CA"};
}

// The one for our key, and whatever came with it: CAs above may have keys of other kinds.
cmp::Enrolled pick(std::vector<Certificate> certificates, const PublicKey& key) {
  auto is_ours = [&](const Certificate& certificate) { return certificate.spki() == key.spki(); };
  auto ours = std::find_if(certificates.begin(), certificates.end(), is_ours);
  if (ours == certificates.end()) {
    throw Error(ErrorCode::certificate_rejected, "the CA sent no certificate for the requested key",
                "put the device aside and have the CA's ledger checked");
  }
  cmp::Enrolled enrolled{.certificate = *ours, .chain = {}};
  certificates.erase(ours);
  enrolled.chain = std::move(certificates);
  return enrolled;
}

class EstClient : public CaClient {
 public:
  EstClient(std::vector<http::Url> urls, int timeout_seconds, std::function<Caller()> caller)
      : poster_(std::move(urls), timeout_seconds), caller_(std::move(caller)) {}

  cmp::Enrolled enroll(const CertificateRequest& request, const cmp::Accept& accept) override {
    return ask("simpleenroll", request, accept);
  }

  cmp::Enrolled renew(const cmp::Accept& accept) override {
    const cmp::Identity& station = caller().station;
    return ask("simplereenroll",
               CertificateRequest::create(station.certificate.common_name().value_or(""),
                                          station.certificate.public_key(), station.key),
               accept);
  }

  bool has_lost_an_answer() const override { return poster_.has_lost_an_answer(); }
  bool has_sent() const override { return poster_.has_sent(); }
  void finish() override { poster_.close(); }

 private:
  const Caller& caller() {
    if (!who_) who_ = caller_();
    return *who_;
  }

  cmp::Enrolled ask(std::string_view operation, const CertificateRequest& request,
                    const cmp::Accept& accept) {
    const Caller& who = caller();
    std::string body = to_base64(request.der());
    auto path = [&](const http::Url& url) {
      std::string base = url.path;
      if (base == "/")
        base = who.order ? fmt::format("/.well-known/est/{}", who.order->text()) : "/.well-known/est";
      return fmt::format("{}/{}", base, operation);
    };
    http::Response response = poster_.send({.content_type = "application/pkcs10",
                                            .body = {body.begin(), body.end()},
                                            .path = path,
                                            .headers = {{"Content-Transfer-Encoding", "base64"}}},
                                           who.tls());
    if (response.status != 200) throw refusal_by_est(poster_.server(), response);
    cmp::Enrolled enrolled = pick(parse_certs_only(response.body), request.public_key());
    accept(enrolled);
    return enrolled;
  }

  HttpPoster poster_;
  std::function<Caller()> caller_;
  std::optional<Caller> who_;
};

}  // namespace

bool is_est_ca(std::string_view url) {
  return url.starts_with(kEst);
}

std::vector<http::Url> parse_est_ca(const std::string& url) {
  std::vector<http::Url> urls = parse_addresses(url, kEst, "est+https://host:port");
  for (http::Url& each : urls) {
    if (!each.is_tls) {
      throw Error(ErrorCode::usage, fmt::format("\"{}\" is EST without TLS, which is none", url),
                  "write est+https://host:port");
    }
    // With or without a '/' at its end, it is the same place.
    if (each.path.size() > 1 && each.path.ends_with('/')) each.path.pop_back();
  }
  return urls;
}

std::unique_ptr<CaClient> open_est_ca(const std::string& url, int timeout_seconds,
                                      std::function<Caller()> caller) {
  return std::make_unique<EstClient>(parse_est_ca(url), timeout_seconds, std::move(caller));
}

}  // namespace fleetroot::station
