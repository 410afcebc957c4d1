#include "tool/media_exchange.h"

#include <fmt/format.h>

#include <map>

#include "lib/media/medium.h"
#include "lib/media/signed_document.h"

namespace fleetroot::station {
namespace {

namespace fs = std::filesystem;

// What one bundle takes of what waits.
struct Load {
  std::vector<media::CarriedRequest> requests;
  std::vector<media::Receipt> receipts;
};

// By order, each as many loads as it needs.
using Loads = std::map<OrderId, std::vector<Load>>;

Loads loads_of(MediaJournal& journal, const MediaQueue& queue, std::size_t& elsewhere) {
  Loads loads;
  auto load_with_room = [&](const OrderId& order, auto member) -> Load& {
    std::vector<Load>& list = loads[order];
    if (list.empty() || (list.back().*member).size() == media::kMaximumItems) list.emplace_back();
    return list.back();
  };
  for (const QueuedRequest& request : journal.requests_to_send()) {
    std::optional<Bytes> message = queue.message(request);
    if (!message) {  // it lies in another queue, or is just being put into this one
      ++elsewhere;
      continue;
    }
    load_with_room(request.order, &Load::requests)
        .requests.push_back({.device_id = request.device_id, .message = *std::move(message)});
  }
  for (const QueuedReceipt& receipt : journal.receipts_to_send())
    load_with_room(receipt.order, &Load::receipts).receipts.push_back(receipt.receipt);
  return loads;
}

// What somebody signed in it; who that is, nobody has judged yet.
std::string content_in(const fs::path& file) {
  std::string document = read_foreign_file(file, media::kMaximumDocumentSize);
  return media::content_of(as_bytes(document));
}

// The digest of the bundle that an answer says it is for. Nothing for a file that holds no answer, whose name
// says nothing to this station either.
std::optional<std::string> answered_digest(const fs::path& file) {
  try {
    return media::ResponseBundle::parse(content_in(file)).request_bundle;
  } catch (const Error&) {
    return std::nullopt;
  }
}

// Nothing for what is absent or damaged: nobody waits for an answer to that.
std::optional<std::string> bundle_digest(const fs::path& file) {
  try {
    return sha256_hex(as_bytes(content_in(file)));
  } catch (const Error&) {
    return std::nullopt;
  }
}

void refuse_to_replace_another(const fs::path& file, const SentBundle& bundle) {
  std::optional<std::string> digest = bundle_digest(file);
  if (!digest || *digest == bundle.digest) return;
  throw Error(ErrorCode::cannot_create,
              fmt::format("{} is a bundle that this station did not send", file.string()),
              "name a medium that is this station's alone, or delete the file once its answer was imported");
}

}  // namespace

MediaExchange::MediaExchange(const Home& home, const Settings& settings, MediaJournal& journal,
                             const MediaQueue& queue, const Clock& clock)
    : home_(home),
      settings_(settings),
      journal_(journal),
      queue_(queue),
      clock_(clock),
      station_(home.station_certificate()),
      ca_(home.issuing_certificates().front()),
      lock_(lock_file(home.file("locks") / "media")) {
  if (!fs::is_directory(home.file("media"))) make_private_directory(home.file("media"));
  remove_leftovers(home.file("media"));
}

std::size_t MediaExchange::export_to(const fs::path& medium, int days, const Written& written) {
  queue_.refuse_unless_there();
  queue_.remove_answered();
  remove_leftovers(medium, media::kRequestSuffix);
  std::optional<SentBundle> last_before = journal_.last_bundle();
  std::size_t elsewhere = write_new_bundles(days);
  std::vector<SentBundle> open = journal_.open_bundles();
  for (const SentBundle& bundle : open)
    refuse_to_replace_another(medium / name_of(bundle.sequence, media::kRequestSuffix), bundle);
  for (const SentBundle& bundle : open) {
    std::string document;
    media::RequestBundle content = read_bundle(bundle, document);
    make_directory(medium);
    fs::path file = medium / name_of(bundle.sequence, media::kRequestSuffix);
    write_file(file, document);
    written({.file = file,
             .sequence = bundle.sequence,
             .order = content.order.text(),
             .requests = content.requests.size(),
             .receipts = content.receipts.size(),
             .is_old = last_before && bundle.sequence <= last_before->sequence});
  }
  return elsewhere;
}

std::size_t MediaExchange::write_new_bundles(int days) {
  std::size_t elsewhere = 0;
  Loads loads = loads_of(journal_, queue_, elsewhere);
  if (loads.empty()) return elsewhere;
  pkcs11::SigningKey key = pkcs11::SigningKey::open(settings_.station_token, settings_.station_key_id);
  Time now = clock_.now();
  for (auto& [order, list] : loads) {
    for (Load& load : list) {
      std::optional<SentBundle> last = journal_.last_bundle();
      write_bundle({.ca = ca_.fingerprint(),
                    .station = settings_.name,
                    .sequence = last ? last->sequence + 1 : 1,
                    .previous = last ? last->digest : media::kNoBundle,
                    .order = order,
                    .created = now,
                    .expires = now + std::chrono::hours(24 * days),
                    .requests = std::move(load.requests),
                    .receipts = std::move(load.receipts)},
                   key.evp());
    }
  }
  return elsewhere;
}

// On disk before it is on record, and on record before it leaves the station.
void MediaExchange::write_bundle(const media::RequestBundle& bundle, EVP_PKEY* key) {
  std::string json = bundle.to_json();
  Bytes document = media::sign_document(as_bytes(json), station_, key);
  write_file(kept(bundle.sequence, media::kRequestSuffix), as_text(document));
  journal_.send({.sequence = bundle.sequence, .digest = sha256_hex(as_bytes(json)), .order = bundle.order},
                bundle, clock_.now());
}

media::RequestBundle MediaExchange::read_bundle(const SentBundle& bundle, std::string& document) const {
  fs::path file = kept(bundle.sequence, media::kRequestSuffix);
  document = read_file(file, media::kMaximumDocumentSize);
  std::string json;
  std::string cause;
  try {
    json = media::content_of(as_bytes(document));
  } catch (const Error& error) {
    cause = error.message();
  }
  if (sha256_hex(as_bytes(json)) != bundle.digest) {
    throw Error(ErrorCode::io, fmt::format("{} is not the bundle that was sent", file.string()),
                "restore the file from a back-up, or from the medium that carried it", cause);
  }
  return media::RequestBundle::parse(json);
}

std::vector<FoundAnswer> MediaExchange::answers_on(const fs::path& medium) {
  queue_.remove_answered();
  std::vector<SentBundle> open = journal_.open_bundles();
  std::vector<FoundAnswer> found;
  for (const fs::path& file : media::files_on_medium(medium, media::kResponseSuffix)) {
    std::optional<SentBundle> bundle = answered_by(file, open);
    if (bundle) found.push_back({.file = file, .bundle = *std::move(bundle)});
  }
  if (found.empty() && !open.empty()) throw no_answer_on(medium, open);
  return found;
}

// By its name, or by what is in it: whoever copies files may give them other names.
std::optional<SentBundle> MediaExchange::answered_by(const fs::path& file,
                                                     const std::vector<SentBundle>& open) const {
  if (open.empty()) return std::nullopt;
  for (const SentBundle& bundle : open) {
    if (file.filename() == name_of(bundle.sequence, media::kResponseSuffix)) return bundle;
  }
  std::optional<std::string> digest = answered_digest(file);
  for (const SentBundle& bundle : open) {
    if (bundle.digest == digest) return bundle;
  }
  return std::nullopt;
}

Error MediaExchange::no_answer_on(const fs::path& medium, const std::vector<SentBundle>& open) const {
  std::vector<std::string> names;
  for (const SentBundle& bundle : open) names.push_back(name_of(bundle.sequence, media::kRequestSuffix));
  return {ErrorCode::io, fmt::format("{} holds no answer to {}", medium.string(), fmt::join(names, ", ")),
          "name the medium that came back from the CA, where fleetroot-ca media process writes its answers"};
}

ImportedBundle MediaExchange::take(const FoundAnswer& answer) {
  const auto& [file, bundle] = answer;
  std::string document = read_foreign_file(file, media::kMaximumDocumentSize);
  media::ResponseBundle response =
      media::ResponseBundle::parse(media::verify_document(as_bytes(document), {ca_}));
  if (response.station != settings_.name || response.ca != ca_.fingerprint()) {
    throw Error(ErrorCode::bundle_foreign,
                fmt::format("{} is for station {}, and this is {}", file.string(), response.station.text(),
                            settings_.name.text()),
                "take it to that station");
  }
  if (response.sequence != bundle.sequence || response.request_bundle != bundle.digest) {
    throw Error(ErrorCode::bundle_forked,
                fmt::format("{} answers another bundle than the one that this station sent as its number {}",
                            file.string(), bundle.sequence),
                "find out who else signs as this station: a copy of its home, or an old one");
  }
  write_file(kept(bundle.sequence, media::kResponseSuffix), document);
  journal_.take(response, clock_.now());
  ImportedBundle imported{.file = file, .sequence = bundle.sequence, .order = response.order.text()};
  for (const media::Answer& item : response.answers) {
    ++(item.certificate ? imported.certificates : imported.refusals);
    queue_.remove(item.device_id, response.order, item.request);
  }
  return imported;
}

fs::path MediaExchange::kept(long long sequence, const char* suffix) const {
  return home_.file("media") / fmt::format("{:06}{}", sequence, suffix);
}

std::string MediaExchange::name_of(long long sequence, const char* suffix) const {
  return fmt::format("{}.{:06}{}", settings_.name.text(), sequence, suffix);
}

}  // namespace fleetroot::station
