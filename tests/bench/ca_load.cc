// What scripts/bench --ca sends at a CA, and what the cryptography and the disk alone would take. Each prints
// certificates per second.
//
//   ca_load floor  CA-HOME STATION.pem STATION.key ORDER PREFIX NUMBER THREADS
//   ca_load socket CA-HOME STATION.pem STATION.key ORDER PREFIX NUMBER CLIENTS
//   ca_load https  CA-HOME STATION.pem STATION.key ORDER PREFIX NUMBER CLIENTS URL
//   ca_load cfssl  CA-HOME STATION.pem STATION.key ORDER PREFIX NUMBER CLIENTS URL     the requests, at a
//   cfssl serve ca_load csr    CA-HOME STATION.pem STATION.key ORDER PREFIX NUMBER DIRECTORY   the requests
//   alone, as PEM
#include <openssl/pem.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "factory-ca/ca_key.h"
#include "factory-ca/home.h"
#include "factory-ca/signer_link.h"
#include "lib/base/files.h"
#include "lib/base/program.h"
#include "lib/cmp/client.h"
#include "lib/http/client.h"
#include "lib/store/database.h"
#include "lib/x509/signature.h"

namespace fleetroot {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t kGroup = 64;

struct Load {
  ca::Home home;
  Certificate station;
  EvpPkeyPtr key;
  OrderId order;
  std::vector<CertificateRequest> requests;
  std::vector<Bytes> messages;
};

EvpPkeyPtr read_key(const char* path) {
  BioPtr file(BIO_new_file(path, "r"));
  EvpPkeyPtr key(PEM_read_bio_PrivateKey(file.get(), nullptr, nullptr, nullptr));
  if (!key) throw openssl_error(ErrorCode::usage, "this is no private key", "give a PEM file");
  return key;
}

// Runs what `begin` makes, on so many threads, for every number below `count`; seconds, from when all have
// begun.
double spread(std::size_t count, std::size_t threads,
              const std::function<std::function<void(std::size_t)>()>& begin) {
  std::atomic<std::size_t> next = 0;
  std::exception_ptr failure;
  steady_clock::time_point started;
  std::barrier all_begun(static_cast<std::ptrdiff_t>(threads),
                         [&]() noexcept { started = steady_clock::now(); });
  {
    std::vector<std::jthread> pool;
    for (std::size_t t = 0; t < threads; ++t) {
      pool.emplace_back([&] {
        try {
          std::function<void(std::size_t)> work = begin();
          all_begun.arrive_and_wait();
          for (std::size_t i = next++; i < count; i = next++) work(i);
        } catch (...) {
          failure = std::current_exception();
          next = count;
          all_begun.arrive_and_drop();
        }
      });
    }
  }
  if (failure) std::rethrow_exception(failure);
  return std::chrono::duration<double>(steady_clock::now() - started).count();
}

Load make_load(char** arguments) {
  Load load{.home = ca::Home(arguments[0]),
            .station = Certificate::from_pem(read_file(arguments[1])),
            .key = read_key(arguments[2]),
            .order = OrderId::parse(arguments[3]),
            .requests = {},
            .messages = {}};
  auto count = static_cast<std::size_t>(std::atoi(arguments[5]));
  Certificate ca = load.home.issuing_certificate();
  load.messages.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    EvpPkeyPtr device(EVP_EC_gen("P-256"));
    load.requests.push_back(CertificateRequest::create(arguments[4] + std::to_string(i),
                                                       PublicKey::from_evp(device.get()), device.get()));
    load.messages[i] = cmp::request_message({.certificate = load.station, .chain = {}, .key = load.key.get()},
                                            ca, load.requests[i]);
  }
  return load;
}

void refuse_unless_certified(BytesView answer) {
  cmp::Message message = cmp::parse_message(answer);
  bool good = message.type == cmp::BodyType::cp &&
              cmp::parse_certificate_response(message.body).status.is_acceptance();
  if (!good)
    throw Error(ErrorCode::refused_by_ca, "the CA refused", "look at its order",
                std::string(as_text(answer)));
}

// Verify the station's signature and the request's, sign a certificate and an answer, and a durable row, in
// groups: nothing is parsed, decided, linted or looked up.
double run_floor(const Load& load, std::size_t threads) {
  ca::Settings settings = load.home.settings();
  ca::CaKey key(issuing_key_of(settings), load.home.issuing_certificate());
  PublicKey station = load.station.public_key();
  std::vector<cmp::Message> messages;
  for (const Bytes& message : load.messages) messages.push_back(cmp::parse_message(message));
  std::vector<PublicKey> keys;
  for (const CertificateRequest& request : load.requests) keys.push_back(request.public_key());
  std::vector<Bytes> rows(load.messages.size());
  std::filesystem::path file = load.home.path() / "floor.db";
  constexpr std::string_view kSchema =
      "CREATE TABLE rows (id INTEGER PRIMARY KEY, certificate TEXT NOT NULL)";
  const std::vector<std::string_view> migrations{kSchema};
  const Database made_once(file, migrations);
  double seconds =
      spread((rows.size() + kGroup - 1) / kGroup, threads, [&]() -> std::function<void(std::size_t)> {
        auto database = std::make_shared<Database>(file, migrations);
        return [&, database](std::size_t group) {
          std::size_t end = std::min(rows.size(), (group + 1) * kGroup);
          for (std::size_t i = group * kGroup; i < end; ++i) {
            der::Reader parts =
                der::Reader(messages[i].body, cmp::kNotAMessage).enter(der::kSequence, "the request");
            BytesView information = parts.take().whole;
            BytesView algorithm = parts.take().whole;
            bool good = is_protected_by(messages[i], station) &&
                        is_signed_by(keys[i], algorithm, information, parts.take_octet_bits("its signature"));
            if (!good) throw Error(ErrorCode::internal, "a signature does not verify", "report this");
            rows[i] = sign_message(key.signer().key, KeyAlgorithm::p256, information);
            (void)sign_message(key.signer().key, KeyAlgorithm::p256, load.messages[i]);
          }
          WriteTransaction transaction(*database);
          for (std::size_t i = group * kGroup; i < end; ++i) {
            std::string row = to_hex(load.messages[i]);
            database->change("INSERT INTO rows (certificate) VALUES (:row)", soci::use(row));
          }
          transaction.commit();
        };
      });
  for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(file.string() + suffix);
  return seconds;
}

double run_socket(const Load& load, std::size_t clients) {
  ca::SignerLink link(load.home.file("signer.sock"));
  return spread(load.messages.size(), clients, [&]() -> std::function<void(std::size_t)> {
    return [&](std::size_t i) {
      refuse_unless_certified(
          link.ask({.question = ca::Question::answer, .order = load.order, .message = load.messages[i]},
                   steady_clock::now() + std::chrono::seconds(60)));
    };
  });
}

http::Response exchange(http::Client& client, const http::Outgoing& request) {
  return client.exchange(request, steady_clock::now() + std::chrono::seconds(60));
}

// Connected before the first request, as a line is that has run for a while.
double run_https(const Load& load, std::size_t clients, const char* url) {
  http::ClientTls tls{.roots = {load.home.fleet_root()},
                      .identity = http::TlsIdentity{.chain = {load.station}, .key = load.key.get()}};
  return spread(load.messages.size(), clients, [&]() -> std::function<void(std::size_t)> {
    auto client = std::make_shared<http::Client>(http::Url::parse(url), tls);
    exchange(*client, {.path = "/"});
    return [&, client](std::size_t i) {
      http::Response response = exchange(*client, {.method = "POST",
                                                   .path = "/.well-known/cmp/p/" + load.order.text(),
                                                   .content_type = "application/pkixcmp",
                                                   .body = load.messages[i]});
      if (response.status != 200) throw Error(ErrorCode::protocol, std::string(as_text(response.body)), "");
      refuse_unless_certified(response.body);
    };
  });
}

double run_cfssl(const Load& load, std::size_t clients, const char* url) {
  std::vector<std::string> bodies;
  for (const CertificateRequest& request : load.requests)
    bodies.push_back(nlohmann::json{{"certificate_request", request.pem()}}.dump());
  return spread(bodies.size(), clients, [&]() -> std::function<void(std::size_t)> {
    auto client = std::make_shared<http::Client>(http::Url::parse(url), std::nullopt);
    return [&, client](std::size_t i) {
      http::Response response = exchange(*client, {.method = "POST",
                                                   .path = "/api/v1/cfssl/sign",
                                                   .content_type = "application/json",
                                                   .body = {bodies[i].begin(), bodies[i].end()}});
      if (as_text(response.body).find("BEGIN CERTIFICATE") == std::string_view::npos)
        throw Error(ErrorCode::protocol, std::string(as_text(response.body)), "");
    };
  });
}

int run(int count, char** arguments) {
  if (count < 9) throw Error(ErrorCode::usage, "arguments are missing", "read the first lines of the source");
  std::string what = arguments[1];
  Load load = make_load(arguments + 2);
  if (what == "csr") {
    for (std::size_t i = 0; i < load.requests.size(); ++i)
      write_file(std::filesystem::path(arguments[8]) / (std::to_string(i) + ".csr"), load.requests[i].pem());
    return 0;
  }
  auto threads = static_cast<std::size_t>(std::atoi(arguments[8]));
  double seconds = what == "floor"    ? run_floor(load, threads)
                   : what == "socket" ? run_socket(load, threads)
                   : what == "cfssl"  ? run_cfssl(load, threads, arguments[9])
                                      : run_https(load, threads, arguments[9]);
  std::printf("%.0f\n", static_cast<double>(load.messages.size()) / seconds);
  return 0;
}

}  // namespace
}  // namespace fleetroot

int main(int argc, char** argv) {
  fleetroot::run_program("ca_load", [&] { return fleetroot::run(argc, argv); });
}
