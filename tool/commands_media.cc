// media export, media import
#include <fmt/format.h>

#include <set>

#include "lib/base/printable.h"
#include "lib/cli/files_in_turn.h"
#include "lib/cli/json_line.h"
#include "tool/commands_cli.h"
#include "tool/journal.h"
#include "tool/media_exchange.h"

namespace fleetroot::station {
namespace {

using Json = nlohmann::ordered_json;

struct MediaOptions {
  std::string home, queue, medium;
  int days = 90;
  bool json = false;
};

// All that an exchange refers to.
struct OpenStation {
  explicit OpenStation(const MediaOptions& options)
      : home(options.home),
        settings(home.settings()),
        journal(home.file("journal.db")),
        queue(options.queue, journal.media),
        exchange(home, settings, journal.media, queue, clock) {}

  SystemClock clock;
  Home home;
  Settings settings;
  Journal journal;
  MediaQueue queue;
  MediaExchange exchange;
};

void print_line(const Json& members) {
  Json line{{"event", "bundle"}};
  line.update(members);
  cli::print_json(line);
}

void report_elsewhere(std::size_t requests, const MediaOptions& options) {
  if (options.json) {
    cli::print_json({{"event", "queue"}, {"queue", options.queue}, {"elsewhere", requests}});
  } else {
    fmt::print(
        "{}: {} requests wait that do not lie here; export them with the --queue that they were put into\n",
        printable(options.queue), requests);
  }
}

void report(const ExportedBundle& bundle, bool json) {
  if (json) {
    print_line({{"file", bundle.file.string()},
                {"result", bundle.is_old ? "again" : "exported"},
                {"sequence", bundle.sequence},
                {"order", bundle.order},
                {"requests", bundle.requests},
                {"receipts", bundle.receipts}});
  } else {
    fmt::print("{}: bundle {}, order {}: {} requests, {} receipts{}\n", printable(bundle.file.string()),
               bundle.sequence, bundle.order, bundle.requests, bundle.receipts,
               bundle.is_old ? " (the same as before: no answer has come yet)" : "");
  }
  std::fflush(stdout);
}

void export_bundles(const MediaOptions& options) {
  OpenStation station(options);
  std::size_t bundles = 0;
  auto written = [&](const ExportedBundle& bundle) {
    ++bundles;
    report(bundle, options.json);
  };
  std::size_t elsewhere = station.exchange.export_to(options.medium, options.days, written);
  if (elsewhere > 0) report_elsewhere(elsewhere, options);
  if (bundles == 0 && elsewhere == 0 && !options.json) fmt::print("nothing waits to be exported\n");
}

void report(const ImportedBundle& bundle, bool json) {
  if (json) {
    print_line({{"file", bundle.file.string()},
                {"result", "imported"},
                {"sequence", bundle.sequence},
                {"order", bundle.order},
                {"certificates", bundle.certificates},
                {"refused", bundle.refusals}});
  } else {
    fmt::print("{}: the answer to bundle {}, order {}: {} certificates, {} refused\n",
               printable(bundle.file.string()), bundle.sequence, bundle.order, bundle.certificates,
               bundle.refusals);
  }
}

void import_bundles(const MediaOptions& options, cli::FilesInTurn& turns) {
  OpenStation station(options);
  std::vector<FoundAnswer> answers = station.exchange.answers_on(options.medium);
  std::set<long long> taken;
  for (const FoundAnswer& answer : answers) {
    if (taken.contains(answer.bundle.sequence)) continue;  // a copy of it
    turns.take(answer.file, [&] {
      report(station.exchange.take(answer), options.json);
      taken.insert(answer.bundle.sequence);
    });
  }
  if (answers.empty() && !options.json) fmt::print("every bundle of this station has its answer\n");
}

std::shared_ptr<MediaOptions> add_options(CLI::App& command) {
  auto options = std::make_shared<MediaOptions>();
  add_home_option(command, options->home);
  command.add_option("--queue", options->queue, "the directory DIR of --ca media:DIR")->required();
  command.add_flag("--json", options->json, "one JSON object a bundle");
  return options;
}

}  // namespace

void add_media_commands(CLI::App& program, Action& action) {
  CLI::App* media = add_group(program, "media", "requests and answers on removable media",
                              "  fleetroot-station media export --home st --queue queue --out /media/stick\n"
                              "  fleetroot-station media import --home st --queue queue /media/stick\n");
  CLI::App* export_command =
      add_command(*media, "export", "write what waits in the queue to a medium, signed",
                  "  fleetroot-station media export --home st --queue queue --out /media/stick\n"
                  "  fleetroot-station media export --home st --queue queue --out /media/stick --json\n"
                  "Until its answer has been imported, the same again writes the same bundle again.\n");
  auto export_options = add_options(*export_command);
  export_command->add_option("--out", export_options->medium, "the medium's directory")->required();
  export_command->add_option("--days", export_options->days, "how long the CA may take a new bundle")
      ->transform(cli::whole_number(1, 3650))
      ->capture_default_str();
  export_command->callback([export_options, &action] {
    action = [export_options] {
      cli::or_json_failure(export_options->json, {{"event", "bundle"}},
                           [&] { export_bundles(*export_options); });
      return 0;
    };
  });

  CLI::App* import_command =
      add_command(*media, "import", "take the CA's answers from a medium",
                  "  fleetroot-station media import --home st --queue queue /media/stick\n"
                  "  fleetroot-station media import --home st --queue queue /media/stick --json\n"
                  "Then provision each device again: its certificate is written back.\n"
                  "A damaged answer does not hold up the others.\n");
  auto import_options = add_options(*import_command);
  import_command->add_option("medium", import_options->medium, "the medium's directory")->required();
  import_command->callback([import_options, &action] {
    action = [import_options] {
      cli::FilesInTurn turns(import_options->json);
      cli::or_json_failure(import_options->json, {{"event", "bundle"}},
                           [&] { import_bundles(*import_options, turns); });
      turns.finish();
      return 0;
    };
  });
}

}  // namespace fleetroot::station
