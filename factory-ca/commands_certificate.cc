// respond, cert issue, cert list, cert show
#include <fmt/format.h>
#include <unistd.h>

#include "factory-ca/ca_key.h"
#include "factory-ca/commands_cli.h"
#include "factory-ca/respond.h"
#include "lib/cli/named_file.h"
#include "lib/cli/output_file.h"

namespace fleetroot::ca {
namespace {

struct CertificateOptions {
  std::string home, order, device_id, serial, request, out;
  bool json = false, pem = false;
};

// All that issuing needs, opened.
struct OpenCa {
  explicit OpenCa(const CertificateOptions& options)
      : home(options.home),
        settings(home.settings()),
        ledger(home.ledger()),
        key(issuing_key_of(settings), home.issuing_certificate()),
        issuer(ledger, key.signer(), key.certificate(), home.profiles(), settings.station_validity, clock,
               options.order.empty() ? std::nullopt : std::optional(OrderId::parse(options.order))) {}

  SystemClock clock;
  Home home;
  Settings settings;
  Ledger ledger;
  CaKey key;
  Issuer issuer;
};

int run_respond(const CertificateOptions& options) {
  if (isatty(STDIN_FILENO) != 0) {
    throw Error(ErrorCode::usage, "respond speaks CMP with a station, not with a person",
                "name it to the station: --ca 'exec:fleetroot-ca respond --home DIR'");
  }
  OpenCa ca(options);
  respond(ca.issuer, STDIN_FILENO, STDOUT_FILENO);
  return 0;
}

int issue(const CertificateOptions& options) {
  cli::OutputFile out(options.out, options.home, {options.request});
  DeviceId device_id = DeviceId::parse(options.device_id);
  CertificateRequest request = cli::read_named_file(options.request, CertificateRequest::from_pem);
  if (request.common_name() != device_id.text()) {
    throw Error(
        ErrorCode::bad_request,
        fmt::format("the request is for device {}, not for {}", request.common_name(), device_id.text()),
        "give the request that was made for this device");
  }
  OpenCa ca(options);
  Submission submission{.sender = "operator",
                        .request = request,
                        .order = OrderId::parse(options.order),
                        .made = ca.clock.now()};
  Certificate certificate = Certificate::from_der(run_alone(ca.issuer.issue(submission)));
  out.write(certificate.pem());
  fmt::print("device {} has the certificate {}: {}\n", device_id.text(), certificate.serial().hex(),
             options.out);
  return 0;
}

nlohmann::ordered_json to_json(const CertificateRecord& record) {
  bool is_revoked = record.state == CertificateState::revoked;
  return {{"device_id", record.subject},
          {"serial", record.serial},
          {"state", name_of(record.state)},
          {"order", record.order},
          {"profile", record.profile},
          {"station", record.sender},
          {"key_algorithm", record.key_algorithm},
          {"public_key", record.public_key},
          {"not_before", format_time(record.not_before)},
          {"not_after", format_time(record.not_after)},
          {"issued_at", record.issued_at},
          {"confirmation", name_of(record.confirmation)},
          {"confirmed_at", record.confirmed_at},
          {"supersedes", record.supersedes},
          {"revoked_at", record.revoked_at},
          {"revocation_reason",
           is_revoked ? nlohmann::ordered_json(name_of(record.revocation_reason)) : nullptr}};
}

int list(const CertificateOptions& options) {
  Ledger ledger(Home(options.home).ledger());
  if (!options.order.empty()) ledger.orders.get(OrderId::parse(options.order));
  if (!options.json) {
    fmt::print("{:<24} {:<8} {:<9} {:<16} {:<21} {}\n", "DEVICE", "STATE", "CONFIRMED", "ORDER", "ISSUED",
               "SERIAL");
  }
  ledger.certificates.each(SubjectKind::device, options.order, [&](const CertificateRecord& record) {
    if (options.json) {
      print_json(to_json(record));
    } else {
      fmt::print("{:<24} {:<8} {:<9} {:<16} {:<21} {}\n", record.subject, name_of(record.state),
                 name_of(record.confirmation), record.order, record.issued_at, record.serial);
    }
  });
  return 0;
}

// The device's live one, or the one with this serial number, revoked or not.
CertificateRecord find_certificate(Ledger& ledger, const CertificateOptions& options) {
  if (options.device_id.empty() == options.serial.empty()) {
    throw Error(ErrorCode::usage, "it takes a device or a serial number to show a certificate",
                "give --device-id ID or --serial HEX");
  }
  std::optional<CertificateRecord> record;
  std::string whom;
  if (options.serial.empty()) {
    whom = "device " + DeviceId::parse(options.device_id).text();
    Standing standing = ledger.certificates.standing(SubjectKind::device, options.device_id);
    record = standing.issued;
    if (!record && standing.revoked) {
      throw Error(ErrorCode::not_on_order,
                  fmt::format("{} has no live certificate: its last one was revoked at {} ({})", whom,
                              standing.revoked->revoked_at, name_of(standing.revoked->revocation_reason)),
                  fmt::format("to see that one, give --serial {}", standing.revoked->serial));
    }
  } else {
    whom = "the serial number " + options.serial;
    record = ledger.certificates.with_serial(SerialNumber::from_hex(options.serial).hex());
  }
  if (!record || record->certificate.empty()) {
    throw Error(ErrorCode::not_on_order, fmt::format("no certificate has been issued for {}", whom),
                "fleetroot-ca cert list shows what was issued");
  }
  return *std::move(record);
}

int show(const CertificateOptions& options) {
  Ledger ledger(Home(options.home).ledger());
  CertificateRecord record = find_certificate(ledger, options);
  Certificate certificate = Certificate::from_der(record.certificate);
  if (options.pem) {
    fmt::print("{}", certificate.pem());
  } else if (options.json) {
    nlohmann::ordered_json object = to_json(record);
    object["subject"] = certificate.subject();
    object["issuer"] = certificate.issuer();
    object["sha256"] = certificate.fingerprint();
    object["claim"] = record.statement.empty() ? nullptr : nlohmann::ordered_json::parse(record.statement);
    object["pem"] = certificate.pem();
    print_json(std::move(object));
  } else {
    fmt::print(
        "device     {}\nsubject    {}\nissuer     {}\nserial     {}\nvalid      {} to {}\n"
        "key        {} {}\nsha256     {}\norder      {}\nprofile    {}\nstation    {}\n"
        "issued     {}\nconfirmed  {} {}\n",
        record.subject, certificate.subject(), certificate.issuer(), record.serial,
        format_time(record.not_before), format_time(record.not_after), record.key_algorithm,
        record.public_key, certificate.fingerprint(), record.order, record.profile, record.sender,
        record.issued_at, name_of(record.confirmation), record.confirmed_at);
    if (record.state == CertificateState::revoked) {
      fmt::print("revoked    {} {}\n", record.revoked_at, name_of(record.revocation_reason));
    }
    if (!record.statement.empty()) fmt::print("claim      {}\n", record.statement);
  }
  return 0;
}

std::shared_ptr<CertificateOptions> add_options(CLI::App* command, bool reports) {
  auto options = std::make_shared<CertificateOptions>();
  add_home_option(*command, options->home);
  if (reports) command->add_flag("--json", options->json, "JSON for machines");
  return options;
}

void add_respond(CLI::App& program, Action& action) {
  CLI::App* command =
      add_command(program, "respond", "answer PKIMessages on stdin and stdout",
                  "  fleetroot-station enroll --home st ... --ca 'exec:fleetroot-ca respond --home ca'\n"
                  "  fleetroot-ca respond --home ca --order PO-4711 <request.der >answer.der\n");
  auto options = add_options(command, false);
  command->add_option("--order", options->order, "answer for this order only");
  command->callback([options, &action] { action = [options] { return run_respond(*options); }; });
}

void add_issue(CLI::App& certificates, Action& action) {
  CLI::App* command =
      add_command(certificates, "issue", "issue one by hand: the same nine steps",
                  "  fleetroot-ca cert issue --home ca --order PO-4711 --device-id 1FLEET0000000001 \\\n"
                  "      --request device.csr --out device.pem\n");
  auto options = add_options(command, false);
  command->add_option("--order", options->order, "the order that the device is on")->required();
  command->add_option("--device-id", options->device_id, "the device")->required();
  command->add_option("--request", options->request, "its PKCS#10 request, PEM or DER")->required();
  command->add_option("--out", options->out, "where the certificate goes, PEM")->required();
  command->callback([options, &action] { action = [options] { return issue(*options); }; });
}

}  // namespace

void add_certificate_commands(CLI::App& program, Action& action) {
  add_respond(program, action);
  CLI::App* certificates =
      add_group(program, "cert", "certificates of devices",
                "  fleetroot-ca cert list --home ca --order PO-4711 --json\n"
                "  fleetroot-ca cert show --home ca --device-id 1FLEET0000000001 --pem\n");
  add_issue(*certificates, action);

  CLI::App* list_command = add_command(*certificates, "list", "show what was issued",
                                       "  fleetroot-ca cert list --home ca\n"
                                       "  fleetroot-ca cert list --home ca --order PO-4711 --json\n");
  auto list_options = add_options(list_command, true);
  list_command->add_option("--order", list_options->order, "of this order only");
  list_command->callback([list_options, &action] { action = reporting(list_options, list); });

  CLI::App* show_command =
      add_command(*certificates, "show", "show a device's certificate",
                  "  fleetroot-ca cert show --home ca --device-id 1FLEET0000000001\n"
                  "  fleetroot-ca cert show --home ca --device-id 1FLEET0000000001 --pem >device.pem\n");
  auto show_options = add_options(show_command, true);
  show_command->add_option("--device-id", show_options->device_id, "the device whose live one it is");
  show_command->add_option("--serial", show_options->serial, "or the serial number, hexadecimal");
  show_command->add_flag("--pem", show_options->pem, "the certificate, and nothing else");
  show_command->callback([show_options, &action] { action = reporting(show_options, show); });

  add_revoke_commands(*certificates, action);
}

}  // namespace fleetroot::ca
