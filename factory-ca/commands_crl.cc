// crl publish
#include <fmt/format.h>

#include "factory-ca/ca_key.h"
#include "factory-ca/commands_cli.h"
#include "factory-ca/revocation_lists.h"
#include "lib/base/files.h"

namespace fleetroot::ca {
namespace {

struct CrlOptions {
  std::string home, out;
  bool delta = false, root = false, clock_was_ahead = false, json = false;
};

constexpr std::size_t kMaximumListSize = 1 << 30;

// "crl", "delta-crl", "fleet-root-crl", "fleet-root-delta-crl"
std::string file_name(bool root, bool delta) {
  return fmt::format("{}{}crl", root ? "fleet-root-" : "", delta ? "delta-" : "");
}

bool is_of(const CertificateRevocationList& list, const Certificate& issuer) {
  return list.issuer() == issuer.subject() &&
         list.authority_key_identifier() == issuer.subject_key_identifier();
}

// Nothing where there is none, or another issuer's.
std::optional<CertificateRevocationList> list_in(const std::filesystem::path& file,
                                                 const Certificate& issuer) {
  if (!std::filesystem::exists(file)) return std::nullopt;
  std::string der = read_file(file, kMaximumListSize);
  try {
    CertificateRevocationList list = CertificateRevocationList::from_der(as_bytes(der));
    if (!is_of(list, issuer)) return std::nullopt;
    list.verify(issuer);
    return list;
  } catch (const Error& error) {
    throw Error(
        ErrorCode::configuration, fmt::format("{} is no sound revocation list of this CA", file.string()),
        "put the newest one that was carried away in its place; it holds what the ledger may not know",
        error.what());
  }
}

std::vector<CertificateRevocationList> lists_in(const Home& home, bool root, const Certificate& issuer) {
  std::vector<CertificateRevocationList> lists;
  for (bool delta : {false, true}) {
    std::optional<CertificateRevocationList> list =
        list_in(home.path() / (file_name(root, delta) + ".der"), issuer);
    if (list) lists.push_back(*std::move(list));
  }
  return lists;
}

// What cannot be read is no list that anybody would miss.
std::optional<CertificateRevocationList> copy_in(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return std::nullopt;
  std::string content = read_file(file, kMaximumListSize);
  try {
    return CertificateRevocationList::from_pem(content);
  } catch (const Error&) {
    return std::nullopt;
  }
}

// A copy of another CA's may be the only one there: without it, what that one revoked is admitted.
void refuse_if_anothers(const std::filesystem::path& directory, const std::string& name,
                        const Certificate& issuer) {
  for (const char* ending : {".der", ".pem"}) {
    std::filesystem::path file = directory / (name + ending);
    std::optional<CertificateRevocationList> copy = copy_in(file);
    if (!copy || is_of(*copy, issuer)) continue;
    throw Error(ErrorCode::cannot_create,
                fmt::format("{} is a revocation list of another CA, {}", file.string(), copy->issuer()),
                "give each CA's lists a directory of their own");
  }
}

void write_list(const std::filesystem::path& directory, const std::string& name,
                const CertificateRevocationList& list) {
  write_file(directory / (name + ".der"), as_text(list.der()));
  write_file(directory / (name + ".pem"), list.pem());
}

// A home may have one of the two keys alone: an offline root's, or a single tier's, where the one signs it
// all.
const KeyLocation& key_of(const CrlOptions& options, const Home& home, const Settings& settings) {
  if (!options.root && !settings.issuing) {
    throw Error(ErrorCode::configuration, "this home has no issuing key: it is an offline root's",
                "add --root for the Fleet Root's list, or name the factory CA's home");
  }
  if (options.root && !settings.root && home.fleet_root() == home.issuing_certificate()) {
    throw Error(ErrorCode::configuration, "this is a single tier: the Fleet Root's list is the only one",
                "leave out --root");
  }
  return options.root ? root_key_of(settings) : issuing_key_of(settings);
}

int publish(const CrlOptions& options) {
  Home home(options.home);
  Settings settings = home.settings();
  Ledger ledger(home.ledger());
  const KeyLocation& location = key_of(options, home, settings);
  CaKey key(location, options.root ? home.fleet_root() : home.issuing_certificate());
  FileDescriptor alone = lock_file(home.file("crl.lock"));
  WantedList wanted{.kind = options.delta ? ListKind::delta : ListKind::complete,
                    .validity = options.delta ? settings.delta_list_validity : settings.list_validity,
                    .clock_was_ahead = options.clock_was_ahead,
                    .held = lists_in(home, options.root, key.certificate())};
  std::string name = file_name(options.root, options.delta);
  if (!options.out.empty()) refuse_if_anothers(options.out, name, key.certificate());
  CertificateRevocationList list = publish_list(ledger, key.signer(), key.certificate(), wanted,
                                                SystemClock(), [&](const CertificateRevocationList& made) {
                                                  if (!options.out.empty())
                                                    write_list(options.out, name, made);
                                                  write_list(home.path(), name, made);
                                                });
  if (options.json) {
    print_json({{"event", "crl"},
                {"issuer", list.issuer()},
                {"number", list.number()},
                {"base", list.delta_base() ? nlohmann::ordered_json(*list.delta_base()) : nullptr},
                {"entries", list.entries().size()},
                {"this_update", format_time(list.this_update())},
                {"next_update", format_time(list.next_update())},
                {"sha256", list.fingerprint()}});
  } else {
    fmt::print("revocation list {} with {} certificates{}, until {}: {}/{}.der\n", list.number(),
               list.entries().size(),
               list.delta_base() ? fmt::format(", new since list {}", *list.delta_base()) : "",
               format_time(list.next_update()), options.home, name);
  }
  return 0;
}

}  // namespace

void add_crl_commands(CLI::App& program, Action& action) {
  CLI::App* crl = add_group(program, "crl", "revocation lists", "  fleetroot-ca crl publish --home ca\n");
  auto options = std::make_shared<CrlOptions>();
  CLI::App* command = add_command(*crl, "publish", "sign the list of what is revoked",
                                  "  fleetroot-ca crl publish --home ca\n"
                                  "  fleetroot-ca crl publish --home ca --delta --out stick\n");
  add_home_option(*command, options->home);
  command->add_option("--out", options->out,
                      "a directory for copies, beside the ones in the home; of this CA's lists alone");
  command->add_flag("--delta", options->delta, "only what was revoked since the last complete list");
  command->add_flag("--root", options->root, "the Fleet Root's list, of issuing CAs; needs the root's key");
  command->add_flag("--clock-was-ahead", options->clock_was_ahead,
                    "the clock was wrong, and is right: lists from later than now count as never published");
  command->add_flag("--json", options->json, "one JSON object");
  command->callback([options, &action] { action = reporting(options, publish, {{"event", "crl"}}); });
}

}  // namespace fleetroot::ca
