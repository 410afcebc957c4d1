// media process, media inspect
#include <fmt/format.h>

#include "factory-ca/bundle_answer.h"
#include "factory-ca/ca_key.h"
#include "factory-ca/commands_cli.h"
#include "lib/base/printable.h"
#include "lib/cli/files_in_turn.h"
#include "lib/cli/json_line.h"
#include "lib/cli/progress_bar.h"
#include "lib/media/medium.h"
#include "lib/media/signed_document.h"

namespace fleetroot::ca {
namespace {

namespace fs = std::filesystem;

struct MediaOptions {
  std::string home, path;
  bool json = false, accept_expired = false;
};

// A directory's bundles, or the one file that is named.
std::vector<fs::path> bundles_at(const std::string& path, std::initializer_list<const char*> suffixes) {
  std::error_code ignored;
  std::vector<fs::path> files;
  if (!fs::is_directory(path, ignored)) return {path};
  for (const char* suffix : suffixes) {
    for (fs::path& file : media::files_on_medium(path, suffix)) files.push_back(std::move(file));
  }
  if (files.empty()) {
    throw Error(ErrorCode::io, fmt::format("there is no bundle in {}", path),
                "have the station write one: fleetroot-station media export");
  }
  return files;
}

std::string read_document(const fs::path& file) {
  return read_foreign_file(file, media::kMaximumDocumentSize);
}

fs::path reply_beside(const fs::path& request) {
  return fs::path(request).replace_extension(media::kResponseSuffix);
}

void report(const fs::path& file, const AnsweredBundle& bundle, bool json) {
  const media::RequestBundle& content = bundle.received.content;
  const char* result = bundle.is_replay ? "again" : "answered";
  if (json) {
    print_json({{"event", "bundle"},
                {"file", file.string()},
                {"result", result},
                {"station", content.station.text()},
                {"sequence", content.sequence},
                {"order", content.order.text()},
                {"requests", content.requests.size()},
                {"certificates", bundle.certificates},
                {"refused", bundle.refusals},
                {"receipts", content.receipts.size()},
                {"receipts_taken", bundle.receipts_taken},
                {"reply", reply_beside(file).string()}});
  } else {
    bool is_all = bundle.receipts_taken == content.receipts.size();
    fmt::print("{}: bundle {} of {}, order {}: {} certificates, {} refused, {} receipts{}{}\n",
               printable(file.string()), content.sequence, content.station.text(), content.order.text(),
               bundle.certificates, bundle.refusals, content.receipts.size(),
               is_all ? "" : fmt::format(", of which {} were taken", bundle.receipts_taken),
               bundle.is_replay ? " (answered before: the same answer again)" : "");
  }
}

void process_file(const fs::path& file, BundleAnswers& answers, bool json) {
  std::string document = read_document(file);
  cli::ProgressBar bar;
  AnsweredBundle answered =
      answers.answer(as_bytes(document), [&](std::size_t done, std::size_t all) { bar.show(done, all); });
  write_file(reply_beside(file), as_text(answered.reply));
  report(file, answered, json);
}

// Every bundle gets its turn; the first refusal is what the command ends with. What stops the command before
// that, or between two of them, has a JSON line of its own.
int in_turn(const MediaOptions& options,
            const std::function<void(const MediaOptions& options, cli::FilesInTurn& turns)>& command) {
  cli::FilesInTurn turns(options.json);
  cli::or_json_failure(options.json, {{"event", "bundle"}}, [&] { command(options, turns); });
  turns.finish();
  return 0;
}

void process(const MediaOptions& options, cli::FilesInTurn& turns) {
  SystemClock clock;
  Home home(options.home);
  Settings settings = home.settings();
  KeyLocation location = issuing_key_of(settings);
  std::vector<fs::path> files = bundles_at(options.path, {media::kRequestSuffix});
  Ledger ledger(home.ledger());
  CaKey key(location, home.issuing_certificate());
  Issuer issuer(ledger, key.signer(), key.certificate(), home.profiles(), settings.station_validity, clock);
  BundleAnswers answers(home, ledger, key.signer(), key.certificate(), issuer, clock, options.accept_expired);
  remove_leftovers(options.path, media::kResponseSuffix);
  for (const fs::path& file : files) turns.take(file, [&] { process_file(file, answers, options.json); });
}

// What would become of it if it were processed now.
std::string standing_of(const ReceivedBundle& bundle, Ledger& ledger, Time now) {
  if (std::optional<BundleRecord> before = ledger.bundles.with_digest(bundle.digest))
    return fmt::format("answered at {}", before->answered_at);
  try {
    refuse_unless_next(bundle, ledger);
    refuse_if_expired(bundle, now);
  } catch (const Error& error) {
    return fmt::format("to be refused: {}", error.message());
  }
  return "to be answered";
}

void show_request(const fs::path& file, const ReceivedBundle& bundle, const std::string& standing,
                  bool json) {
  const media::RequestBundle& content = bundle.content;
  if (json) {
    nlohmann::ordered_json requests = nlohmann::ordered_json::array();
    for (const media::CarriedRequest& request : content.requests)
      requests.push_back({{"device_id", request.device_id.text()}, {"sha256", sha256_hex(request.message)}});
    nlohmann::ordered_json receipts = nlohmann::ordered_json::array();
    for (const media::Receipt& receipt : content.receipts) {
      receipts.push_back({{"device_id", receipt.device_id.text()},
                          {"serial", receipt.serial.hex()},
                          {"result", receipt.accepted ? "accepted" : "rejected"}});
    }
    print_json({{"event", "request_bundle"},
                {"file", file.string()},
                {"sha256", bundle.digest},
                {"standing", standing},
                {"station", content.station.text()},
                {"sequence", content.sequence},
                {"previous", content.previous},
                {"order", content.order.text()},
                {"created", format_time(content.created)},
                {"expires", format_time(content.expires)},
                {"requests", requests},
                {"receipts", receipts}});
    return;
  }
  fmt::print("{}: bundle {} of station {} for order {}, {}\n  created {}, good until {}\n  sha256 {}\n",
             printable(file.string()), content.sequence, content.station.text(), content.order.text(),
             printable(standing), format_time(content.created), format_time(content.expires), bundle.digest);
  for (const media::CarriedRequest& request : content.requests)
    fmt::print("  request  {}\n", request.device_id.text());
  for (const media::Receipt& receipt : content.receipts) {
    fmt::print("  receipt  {}  {} {}\n", receipt.device_id.text(), receipt.serial.hex(),
               receipt.accepted ? "accepted" : "rejected");
  }
}

std::string serial_in(const Bytes& certificate) {
  return Certificate::from_der(certificate).serial().hex();
}

void show_response(const fs::path& file, const media::ResponseBundle& bundle, bool json) {
  if (json) {
    nlohmann::ordered_json answers = nlohmann::ordered_json::array();
    for (const media::Answer& answer : bundle.answers) {
      nlohmann::ordered_json item{{"device_id", answer.device_id.text()}};
      if (answer.certificate) item["serial"] = serial_in(*answer.certificate);
      if (answer.refusal) item["error"] = name_of(answer.refusal->code());
      answers.push_back(std::move(item));
    }
    print_json({{"event", "response_bundle"},
                {"file", file.string()},
                {"station", bundle.station.text()},
                {"sequence", bundle.sequence},
                {"request_bundle", bundle.request_bundle},
                {"order", bundle.order.text()},
                {"created", format_time(bundle.created)},
                {"answers", answers},
                {"checkpoint", {{"entries", bundle.log_entries}, {"digest", bundle.log_digest}}}});
    return;
  }
  fmt::print("{}: the answer to bundle {} of station {} for order {}, created {}\n", printable(file.string()),
             bundle.sequence, bundle.station.text(), bundle.order.text(), format_time(bundle.created));
  for (const media::Answer& answer : bundle.answers) {
    fmt::print("  answer   {}  {}\n", answer.device_id.text(),
               answer.certificate ? serial_in(*answer.certificate) : printable(answer.refusal->message()));
  }
}

void inspect_file(const fs::path& file, Ledger& ledger, const Certificate& issuing, bool json) {
  std::string document = read_document(file);
  if (file.extension() == media::kResponseSuffix) {
    show_response(file, media::ResponseBundle::parse(media::verify_document(as_bytes(document), {issuing})),
                  json);
    return;
  }
  Time now = SystemClock().now();
  ReceivedBundle bundle = receive_bundle(as_bytes(document), ledger, issuing, now);
  show_request(file, bundle, standing_of(bundle, ledger, now), json);
}

void inspect(const MediaOptions& options, cli::FilesInTurn& turns) {
  Home home(options.home);
  (void)issuing_key_of(home.settings());
  Certificate issuing = home.issuing_certificate();
  std::vector<fs::path> files = bundles_at(options.path, {media::kRequestSuffix, media::kResponseSuffix});
  Ledger ledger(home.ledger());
  for (const fs::path& file : files)
    turns.take(file, [&] { inspect_file(file, ledger, issuing, options.json); });
}

std::shared_ptr<MediaOptions> add_options(CLI::App& command) {
  auto options = std::make_shared<MediaOptions>();
  add_home_option(command, options->home);
  command.add_option("path", options->path, "the medium's directory, or one bundle")->required();
  command.add_flag("--json", options->json, "one JSON object a bundle");
  return options;
}

}  // namespace

void add_media_commands(CLI::App& program, Action& action) {
  CLI::App* media = add_group(program, "media", "requests and answers on removable media",
                              "  fleetroot-ca media process --home ca /media/stick\n"
                              "  fleetroot-ca media inspect --home ca /media/stick\n");
  CLI::App* process_command =
      add_command(*media, "process", "answer every request bundle on a medium",
                  "  fleetroot-ca media process --home ca /media/stick\n"
                  "  fleetroot-ca media process --home ca /media/stick --json\n"
                  "The same again gives the same answers; so it is right after any failure.\n");
  auto process_options = add_options(*process_command);
  process_command->add_flag("--accept-expired", process_options->accept_expired,
                            "answer bundles whose time is over too");
  process_command->callback([process_options, &action] {
    action = [process_options] { return in_turn(*process_options, process); };
  });

  CLI::App* inspect_command =
      add_command(*media, "inspect", "show what the bundles on a medium hold, and change nothing",
                  "  fleetroot-ca media inspect --home ca /media/stick\n"
                  "  fleetroot-ca media inspect --home ca /media/stick/st-01.000001.request --json\n");
  auto inspect_options = add_options(*inspect_command);
  inspect_command->callback([inspect_options, &action] {
    action = [inspect_options] { return in_turn(*inspect_options, inspect); };
  });
}

}  // namespace fleetroot::ca
