// order create, order show, order list, order close
#include <fmt/format.h>

#include <algorithm>

#include "factory-ca/commands_cli.h"
#include "factory-ca/device_list.h"
#include "factory-ca/home.h"
#include "factory-ca/order_life.h"
#include "lib/base/printable.h"
#include "lib/cli/named_file.h"

namespace fleetroot::ca {
namespace {

// Some millions of devices.
constexpr std::size_t kMaximumDeviceList = 256 << 20;

struct OrderOptions {
  std::string home, id, profile = "device", devices, pattern;
  long long quantity = 0;
  bool json = false, dry_run = false;
};

WorkOrder read_order(const OrderOptions& options, std::vector<DeviceRecord>& devices) {
  if (options.devices.empty() == options.pattern.empty()) {
    throw Error(ErrorCode::usage, "an order needs either a list of devices or a pattern",
                "give --devices FILE.csv, or --pattern REGEX with --quantity N");
  }
  WorkOrder order{.id = OrderId::parse(options.id),
                  .profile = ProfileName::parse(options.profile),
                  .pattern = {},
                  .quantity = options.quantity,
                  .created_at = format_time(SystemClock().now()),
                  .closed_at = {}};
  if (!options.pattern.empty()) {
    refuse_unless_plain("the pattern", options.pattern);
    order.pattern = DevicePattern::parse(options.pattern);
    if (options.quantity == 0) {
      throw Error(ErrorCode::usage, "an order with a pattern needs a quantity", "add --quantity N");
    }
    return order;
  }
  devices = cli::read_named_file(options.devices, parse_device_list, kMaximumDeviceList);
  auto count = static_cast<long long>(devices.size());
  if (order.quantity == 0) order.quantity = count;
  if (order.quantity > count) {
    throw Error(ErrorCode::usage,
                fmt::format("the quantity {} is more than the {} devices of the list", order.quantity, count),
                "leave out --quantity, or give a longer list");
  }
  return order;
}

int create(const OrderOptions& options) {
  std::vector<DeviceRecord> devices;
  WorkOrder order = read_order(options, devices);
  Home home(options.home);
  (void)issuing_key_of(home.settings());  // an offline root has no profiles, and no orders
  std::filesystem::path file = home.ledger();
  Profile profile = Profile::read(home.profiles(), order.profile);
  // What the profile needs and the order lacks is found now, not at the line.
  if (order.pattern) profile.refuse_if_columns_are_needed();
  for (const DeviceRecord& device : devices) profile.refuse_unless_sufficient(device);
  Ledger ledger(file);
  open_order(ledger, order, devices, profile.digest(), SystemClock());
  fmt::print("order {} is open: {} certificates of the profile {}\n", order.id.text(), order.quantity,
             order.profile.text());
  return 0;
}

// What scrolls past says nothing to a person.
constexpr std::size_t kMissingShown = 20;

nlohmann::ordered_json to_json(const WorkOrder& order) {
  return {{"order", order.id.text()},
          {"profile", order.profile.text()},
          {"state", order.is_open ? "open" : "closed"},
          {"quantity", order.quantity},
          {"used", order.used},
          {"pattern", order.pattern ? nlohmann::ordered_json(order.pattern->text()) : nullptr},
          {"created_at", order.created_at},
          {"closed_at", order.closed_at}};
}

int show(const OrderOptions& options) {
  Ledger ledger(Home(options.home).ledger());
  ReadTransaction one_moment = ledger.read();
  WorkOrder order = ledger.orders.get(OrderId::parse(options.id));
  OrderProgress progress = ledger.certificates.progress_of(order.id);
  std::vector<std::string> missing = ledger.orders.missing(order.id);
  if (options.json) {
    nlohmann::ordered_json object = to_json(order);
    object["issued"] = progress.issued;
    object["confirmed"] = progress.confirmed;
    if (!order.pattern) object["missing"] = missing;
    print_json(std::move(object));
    return 0;
  }
  fmt::print(
      "order      {}\nprofile    {}\nstate      {}\ndevices    {}\nquantity   {}\nused       {}\n"
      "issued     {}\nconfirmed  {}\n",
      order.id.text(), order.profile.text(), order.is_open ? "open" : "closed",
      order.pattern ? "pattern " + printable(order.pattern->text()) : "a list", order.quantity, order.used,
      progress.issued, progress.confirmed);
  if (order.pattern) return 0;
  fmt::print("missing    {}\n", missing.size());
  std::size_t shown = std::min(missing.size(), kMissingShown);
  for (std::size_t i = 0; i < shown; ++i) fmt::print("  {}\n", missing[i]);
  if (shown < missing.size()) fmt::print("  and {} more: --json names them all\n", missing.size() - shown);
  return 0;
}

int list(const OrderOptions& options) {
  Ledger ledger(Home(options.home).ledger());
  if (!options.json) {
    fmt::print("{:<24} {:<7} {:<12} {:>9} {:>9}  {}\n", "ORDER", "STATE", "PROFILE", "USED", "QUANTITY",
               "CREATED");
  }
  for (const WorkOrder& order : ledger.orders.list()) {
    if (options.json) {
      print_json(to_json(order));
    } else {
      fmt::print("{:<24} {:<7} {:<12} {:>9} {:>9}  {}\n", order.id.text(), order.is_open ? "open" : "closed",
                 order.profile.text(), order.used, order.quantity, order.created_at);
    }
  }
  return 0;
}

int close(const OrderOptions& options) {
  Ledger ledger(Home(options.home).ledger());
  OrderId id = OrderId::parse(options.id);
  WorkOrder order = close_order(ledger, id, SystemClock(), commitment(options.dry_run));
  if (!order.is_open) {
    fmt::print("order {} was closed at {}\n", id.text(), order.closed_at);
    return 0;
  }
  fmt::print("{}order {} is closed: {} of {} used\n", would(options.dry_run), id.text(), order.used,
             order.quantity);
  return 0;
}

std::shared_ptr<OrderOptions> add_id_and_json(CLI::App* command, bool reports) {
  auto options = std::make_shared<OrderOptions>();
  add_home_option(*command, options->home);
  command->add_option("--id", options->id, "the order's ID")->required();
  if (reports) command->add_flag("--json", options->json, "one JSON object");
  return options;
}

void add_create(CLI::App& orders, Action& action) {
  CLI::App* command = add_command(
      orders, "create", "open an order",
      "  fleetroot-ca order create --home ca --id PO-4711 --profile device --devices order.csv\n"
      "  fleetroot-ca order create --home ca --id PO-4712 --pattern '1FLEET[0-9]{10}' --quantity 500\n");
  auto options = add_id_and_json(command, false);
  command->add_option("--profile", options->profile, "what the certificates say")->capture_default_str();
  command->add_option(
      "--devices", options->devices,
      "CSV with a header; the column device_id is required, others may be used by the profile");
  command->add_option("--pattern", options->pattern,
                      "POSIX extended regular expression that the whole device ID must match");
  command
      ->add_option("--quantity", options->quantity,
                   "how many certificates at most (default: one a device of the list)")
      ->transform(cli::whole_number(1, 100'000'000));
  command->callback([options, &action] { action = [options] { return create(*options); }; });
}

}  // namespace

void add_order_commands(CLI::App& program, Action& action) {
  CLI::App* orders =
      add_group(program, "order", "work orders: which devices may get a certificate",
                "  fleetroot-ca order create --home ca --id PO-4711 --profile device --devices order.csv\n"
                "  fleetroot-ca order show --home ca --id PO-4711\n");
  add_create(*orders, action);

  CLI::App* show_command = add_command(*orders, "show", "show an order and what is missing of it",
                                       "  fleetroot-ca order show --home ca --id PO-4711\n"
                                       "  fleetroot-ca order show --home ca --id PO-4711 --json\n");
  auto show_options = add_id_and_json(show_command, true);
  show_command->callback([show_options, &action] { action = reporting(show_options, show); });

  CLI::App* list_command = add_command(*orders, "list", "show all orders",
                                       "  fleetroot-ca order list --home ca\n"
                                       "  fleetroot-ca order list --home ca --json\n");
  auto list_options = std::make_shared<OrderOptions>();
  add_home_option(*list_command, list_options->home);
  list_command->add_flag("--json", list_options->json, "one JSON object an order");
  list_command->callback([list_options, &action] { action = reporting(list_options, list); });

  CLI::App* close_command = add_command(*orders, "close", "take no more devices on an order",
                                        "  fleetroot-ca order close --home ca --id PO-4711 --dry-run\n"
                                        "  fleetroot-ca order close --home ca --id PO-4711\n");
  auto close_options = add_id_and_json(close_command, false);
  add_dry_run(*close_command, close_options->dry_run);
  close_command->callback(
      [close_options, &action] { action = [close_options] { return close(*close_options); }; });
}

}  // namespace fleetroot::ca
