// station enroll, station renew, station bind, station list, station revoke
#include <fmt/format.h>

#include <set>

#include "factory-ca/commands_cli.h"
#include "factory-ca/later_life.h"
#include "factory-ca/stations.h"
#include "lib/cli/named_file.h"
#include "lib/cli/output_file.h"

namespace fleetroot::ca {
namespace {

struct StationOptions {
  std::string home, name, request, out, reason = "unspecified";
  std::vector<std::string> orders;
  bool any = false, json = false, dry_run = false;

  // Each once, however often it is said.
  std::vector<OrderId> order_ids() const {
    std::set<OrderId> ids;
    for (const std::string& order : orders) ids.insert(OrderId::parse(order));
    return {ids.begin(), ids.end()};
  }
};

void add_enroll(CLI::App& station, Action& action) {
  auto options = std::make_shared<StationOptions>();
  CLI::App* command = add_command(
      station, "enroll", "give a station its certificate",
      "  fleetroot-ca station enroll --home ca --name st-01 --request st/station.csr --out st-01.pem\n"
      "  fleetroot-ca station enroll --home ca --name st-01 --request st/station.csr --out st-01.pem --order "
      "PO-1\n");
  add_home_option(*command, options->home);
  command->add_option("--name", options->name, "the station's name")->required();
  command->add_option("--request", options->request, "its PKCS#10 request, PEM or DER")->required();
  command->add_option("--out", options->out, "where its certificate goes, PEM")->required();
  command->add_option("--order", options->orders,
                      "an order that it may work on, and no other; may be repeated");
  command->callback([options, &action] {
    action = [options] {
      cli::OutputFile out(options->out, options->home, {options->request});
      Certificate certificate =
          enroll_station(Home(options->home), StationName::parse(options->name),
                         cli::read_named_file(options->request, CertificateRequest::from_pem),
                         options->order_ids(), SystemClock());
      out.write(certificate.pem());
      fmt::print(
          "station {} is enrolled until {}: {}\n"
          "the SHA-256 of its public key, as its init has to have said it: {}\n",
          options->name, format_time(certificate.not_after()), options->out,
          certificate.public_key().fingerprint());
      return 0;
    };
  });
}

void add_renew(CLI::App& station, Action& action) {
  auto options = std::make_shared<StationOptions>();
  CLI::App* command = add_command(
      station, "renew", "write a station's next certificate, where no network reaches it",
      "  fleetroot-ca station renew --home ca --name st-01 --out st-01.pem\n"
      "  fleetroot-station enroll --home st --certificate st-01.pem ...       # as the first time\n"
      "A station on the network asks for it itself. In the first half of a certificate's life it is "
      "the same again.\n");
  add_home_option(*command, options->home);
  command->add_option("--name", options->name, "the station's name")->required();
  command->add_option("--out", options->out, "where its certificate goes, PEM")->required();
  command->callback([options, &action] {
    action = [options] {
      cli::OutputFile out(options->out, options->home);
      Certificate certificate =
          renew_enrolled_station(Home(options->home), StationName::parse(options->name), SystemClock());
      out.write(certificate.pem());
      fmt::print("the certificate of station {} is valid until {}: {}\n", options->name,
                 format_time(certificate.not_after()), options->out);
      return 0;
    };
  });
}

void add_bind(CLI::App& station, Action& action) {
  auto options = std::make_shared<StationOptions>();
  CLI::App* command =
      add_command(station, "bind", "say which orders a station may work on",
                  "  fleetroot-ca station bind --home ca --name st-01 --order PO-4711 --order PO-4712\n"
                  "  fleetroot-ca station bind --home ca --name st-01 --any\n");
  add_home_option(*command, options->home);
  command->add_option("--name", options->name, "the station's name")->required();
  CLI::Option* orders =
      command->add_option("--order", options->orders, "these, and no others; may be repeated");
  command->add_flag("--any", options->any, "every order")->excludes(orders);
  command->callback([options, &action] {
    action = [options] {
      if (!options->any && options->orders.empty()) {
        throw Error(ErrorCode::usage, "there is no order to bind the station to",
                    "give --order ORDER, or --any");
      }
      std::vector<OrderId> allowed = options->order_ids();
      Ledger ledger(Home(options->home).ledger());
      bind_station(ledger, StationName::parse(options->name), allowed, SystemClock());
      std::vector<std::string> names;
      for (const OrderId& order : allowed) names.push_back(order.text());
      fmt::print("station {} may work on {}\n", options->name,
                 options->any ? "every order" : fmt::format("{} and no other", fmt::join(names, ", ")));
      return 0;
    };
  });
}

int list(const StationOptions& options) {
  Ledger ledger(Home(options.home).ledger());
  Time now = SystemClock().now();
  if (!options.json) fmt::print("{:<24} {:<9} {:<21} {}\n", "STATION", "STATE", "UNTIL", "SERIAL");
  ledger.certificates.each(SubjectKind::station, {}, [&](const CertificateRecord& record) {
    bool is_revoked = record.state == CertificateState::revoked;
    bool is_expired = now > record.not_after;
    if (options.json) {
      print_json({{"station", record.subject},
                  {"state", is_revoked ? "revoked" : "enrolled"},
                  {"serial", record.serial},
                  {"public_key", record.public_key},
                  {"enrolled_at", record.issued_at},
                  {"not_after", format_time(record.not_after)},
                  {"expired", is_expired},
                  {"orders", ledger.station_orders.of(record.subject)}});
    } else {
      const char* state = is_revoked ? "revoked" : is_expired ? "expired" : "enrolled";
      fmt::print("{:<24} {:<9} {:<21} {}\n", record.subject, state, format_time(record.not_after),
                 record.serial);
    }
  });
  return 0;
}

void add_list(CLI::App& station, Action& action) {
  auto options = std::make_shared<StationOptions>();
  CLI::App* command = add_command(station, "list", "show the stations",
                                  "  fleetroot-ca station list --home ca\n"
                                  "  fleetroot-ca station list --home ca --json\n");
  add_home_option(*command, options->home);
  command->add_flag("--json", options->json, "one JSON object a station");
  command->callback([options, &action] { action = reporting(options, list); });
}

void add_revoke(CLI::App& station, Action& action) {
  auto options = std::make_shared<StationOptions>();
  CLI::App* command =
      add_command(station, "revoke", "answer a station's requests no more",
                  "  fleetroot-ca station revoke --home ca --name st-01\n"
                  "  fleetroot-ca station revoke --home ca --name st-01 --reason keyCompromise --dry-run\n");
  add_home_option(*command, options->home);
  command->add_option("--name", options->name, "the station's name")->required();
  command->add_option("--reason", options->reason, "as the revocation list shall say it (RFC 5280)")
      ->capture_default_str();
  add_dry_run(*command, options->dry_run);
  command->callback([options, &action] {
    action = [options] {
      Ledger ledger(Home(options->home).ledger());
      Revoked revoked =
          revoke_station(ledger, StationName::parse(options->name), parse_revocation_reason(options->reason),
                         SystemClock(), commitment(options->dry_run));
      if (revoked.is_new) {
        fmt::print("{}station {} is revoked; it takes a new key to enroll it again\n",
                   would(options->dry_run), options->name);
      } else {
        fmt::print("station {} was revoked at {} ({})\n", options->name, revoked.certificate.revoked_at,
                   name_of(revoked.certificate.revocation_reason));
      }
      return 0;
    };
  });
}

}  // namespace

void add_station_commands(CLI::App& program, Action& action) {
  CLI::App* station = add_group(
      program, "station", "stations that may submit requests",
      "  fleetroot-ca station enroll --home ca --name st-01 --request st/station.csr --out st-01.pem\n"
      "  fleetroot-ca station list --home ca\n");
  add_enroll(*station, action);
  add_renew(*station, action);
  add_bind(*station, action);
  add_list(*station, action);
  add_revoke(*station, action);
}

}  // namespace fleetroot::ca
