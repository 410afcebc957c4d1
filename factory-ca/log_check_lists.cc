// Revocation lists: which of their numbers were published, and which a revocation may have for the first list
// that names it. What is forgotten there is not on the next list.
#include <fmt/format.h>

#include <algorithm>

#include "factory-ca/log_check.h"

namespace fleetroot::ca {
namespace {

class ListCheck final : public LogCheck {
 public:
  explicit ListCheck(Ledger& ledger) : certificates_(ledger.certificates) {
    ledger.crls.each(
        [&](const ListRecord& record) { lists_.emplace(record.number, List{.record = record}); });
  }

  void take(const LoggedEvent& event) override {
    if (event.event == "crl.published") {
      take_published(event);
    } else if (event.event == "crl.disowned") {
      take_disowned(event);
    } else if (event.event.ends_with(".revoked") || event.event == "front.replaced") {
      take_revoked(event);
    }
  }
  // One that no entry is about was reserved alone.
  void finish() override {
    for (const auto& [number, list] : lists_) {
      if (list.record.is_published == list.counts) continue;
      if (list.entry == 0)
        throw broken(fmt::format("the log knows nothing of the revocation list {}", number));
      throw broken(fmt::format("the revocation list {} counts as {}, and entry {} of the log says that it {}",
                               number, list.counts ? "never published" : "published", list.entry,
                               list.counts ? "was" : "does not"));
    }
  }

 private:
  struct List {
    ListRecord record;
    long long entry = 0;  // the last that is about it
    bool counts = false;  // as published, by that
  };

  void take_published(const LoggedEvent& event) {
    long long number = event.details.at("number");
    auto [found, end] = lists_.equal_range(number);
    while (found != end && !is_about(event.details, found->second)) ++found;
    if (found == end) {
      throw broken(fmt::format(
          "entry {} of the log is about the revocation list {} of {}, which the ledger does not hold",
          event.entry, number, std::string(event.details.at("time"))));
    }
    List& list = found->second;
    list.entry = event.entry;
    list.counts = true;
    // Where an older entry does not say whose list it is, it may be another issuer's that is like it.
    if (event.details.contains("issuer_key_id")) newest_[list.record.issuer_key_id] = number;
  }
  static bool is_about(const nlohmann::json& details, const List& list) {
    return list.entry == 0 && list.record.base == details.at("base") &&
           format_time(list.record.this_update) == details.at("time") &&
           details.value("issuer_key_id", list.record.issuer_key_id) == list.record.issuer_key_id;
  }
  void take_disowned(const LoggedEvent& event) {
    std::string issuer = event.details.at("issuer_key_id");
    std::string now = event.details.at("time");
    long long disowned = 0;
    for (auto& [number, list] : lists_) {
      bool is_later = format_time(list.record.this_update) > now;
      if (!list.counts || list.record.issuer_key_id != issuer || !is_later) continue;
      list.entry = event.entry;
      list.counts = false;
      ++disowned;
    }
    event.refuse_unless_said("the issuer " + issuer, "lists", disowned);
  }
  void take_revoked(const LoggedEvent& event) {
    std::string serial = event.details.at("serial");
    std::optional<CertificateRecord> record = certificates_.with_serial(serial);
    // That it is there is for the check of certificates to say.
    if (!record) return;
    auto newest = newest_.find(record->issuer_key_id);
    if (newest != newest_.end() && record->first_list <= newest->second) {
      throw broken(fmt::format(
          "the certificate {} was revoked by entry {} of the log, after the revocation list {} that is to "
          "name it first",
          serial, event.entry, record->first_list));
    }
    // It follows the list that had the highest number then, which may have been reserved alone.
    long long before = record->first_list - 1;
    if (before == 0 || holds(before, record->issuer_key_id)) return;
    throw broken(fmt::format(
        "the certificate {} is to be named by the revocation list {} first, and the ledger knows none with "
        "the number {}",
        serial, record->first_list, before));
  }
  bool holds(long long number, const std::string& issuer_key_id) const {
    auto [begin, end] = lists_.equal_range(number);
    return std::any_of(begin, end,
                       [&](const auto& list) { return list.second.record.issuer_key_id == issuer_key_id; });
  }

  CertificateLedger& certificates_;
  std::multimap<long long, List> lists_;     // by number; each issuer has its own
  std::map<std::string, long long> newest_;  // a number, by issuer
};

}  // namespace

std::unique_ptr<LogCheck> check_revocation_lists(Ledger& ledger) {
  return std::make_unique<ListCheck>(ledger);
}

}  // namespace fleetroot::ca
