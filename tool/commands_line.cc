// line
#include "lib/cli/json_line.h"
#include "tool/ca_client.h"
#include "tool/commands_cli.h"
#include "tool/home.h"
#include "tool/line.h"

namespace fleetroot::station {
namespace {

struct LineOptions {
  std::string home, order, ca;
  std::vector<std::string> bays;
  std::size_t stop_after = 0;
  bool json = false;
};

std::vector<Bay> choose_bays(const LineOptions& options, const Settings& settings) {
  std::vector<Bay> bays;
  for (const std::string& bay : options.bays) bays.push_back(Bay::parse(bay));
  refuse_double_names(bays, ErrorCode::usage);
  if (bays.empty()) bays = settings.bays;
  if (bays.empty()) {
    throw Error(ErrorCode::configuration, "this station has no bays",
                "add a [[bay]] with name and token to station.toml, or --bay 'NAME=pkcs11:…'");
  }
  return bays;
}

// All that would fail every device fails here, before the first scan.
LineSettings prepare(const LineOptions& options) {
  Home home(options.home);
  Settings settings = home.settings();
  LineSettings line{.home = options.home,
                    .order = OrderId::parse(options.order),
                    .ca = choose_ca(home, settings, options.ca),
                    .bays = choose_bays(options, settings),
                    .stop_after = options.stop_after};
  refuse_unless_unattended(pkcs11::Uri::parse(settings.station_token.uri), "the station's own",
                           ErrorCode::configuration);
  (void)home.station_certificate();
  (void)home.issuing_certificates();
  (void)home.fleet_roots();
  return line;
}

int line(const LineOptions& options) {
  LineReport report(options.json ? Reporter::Format::json : Reporter::Format::human);
  LineSettings settings =
      cli::or_json_failure(options.json, {{"event", "line"}}, [&] { return prepare(options); });
  Line(std::move(settings), report).run();
  report.refuse_failures();
  return 0;
}

}  // namespace

void add_line_command(CLI::App& program, Action& action) {
  auto options = std::make_shared<LineOptions>();
  CLI::App* command = add_command(
      program, "line", "provision every device that is scanned, in all bays at once",
      "  fleetroot-station line --home st --order PO-4711 <scans.txt       one device ID a line, or JSON\n"
      "  fleetroot-station line --home st --order PO-4711 --json           what the scanner types, for the "
      "MES\n"
      "  … --bay "
      "'1=pkcs11:token={device_id}?module-path=/usr/lib/vendor.so&pin-source=file:pins/{device_id}'\n"
      "  … --ca media:queue                       devices end QUEUED; after media import the same scans "
      "again\n"
      "Bays are the [[bay]] tables of station.toml. Where they have fixed tokens, a line says its bay:\n"
      "  {\"device_id\":\"1FLEET0000000001\",\"bay\":\"2\"}\n"
      "Ctrl-C or SIGTERM: the devices in work finish, none begins. Scanning a device again is always "
      "right.\n");
  add_home_option(*command, options->home);
  command->add_option("--order", options->order, "the work order, where a line names none")->required();
  command
      ->add_option("--bay", options->bays,
                   "NAME=URI of a bay's token, instead of station.toml's bays; once for each bay")
      ->allow_extra_args(false);
  command->add_option("--ca", options->ca, "where requests go (default: station.toml)")
      ->envname("FLEETROOT_CA");
  command
      ->add_option("--stop-after", options->stop_after,
                   "stop after so many failures in a row (default: never)")
      ->transform(cli::whole_number(1, 1'000'000));
  command->add_flag("--json", options->json, "one JSON object a line");
  command->callback([options, &action] { action = [options] { return line(*options); }; });
}

}  // namespace fleetroot::station
