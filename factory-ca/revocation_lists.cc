#include "factory-ca/revocation_lists.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "factory-ca/issuing_key.h"
#include "factory-ca/ledger.h"
#include "lib/x509/der.h"

namespace fleetroot::ca {
namespace {

constexpr const char* kAuthorityKeyIdentifier = "2.5.29.35";
constexpr const char* kCrlNumber = "2.5.29.20";
constexpr const char* kDeltaCrlIndicator = "2.5.29.27";
constexpr const char* kReasonCode = "2.5.29.21";

// unspecified is what an absent reason means, and shall be absent (RFC 5280 section 5.3.1).
Bytes entry_extensions(RevocationReason reason) {
  if (reason == RevocationReason::unspecified) return {};
  const std::uint8_t code[] = {static_cast<std::uint8_t>(reason)};
  return der::sequence({extension(kReasonCode, false, der::tagged(0x0a, code))});
}

Bytes encode_entries(const std::vector<RevocationEntry>& entries) {
  if (entries.empty()) return {};  // RFC 5280 section 5.1.2.6
  Bytes content;
  for (const RevocationEntry& entry : entries) {
    Asn1IntegerPtr serial = SerialNumber::from_hex(entry.serial).asn1();
    Bytes der = der::sequence(
        {to_der(i2d_ASN1_INTEGER, serial.get()), der::time(entry.date), entry_extensions(entry.reason)});
    content.insert(content.end(), der.begin(), der.end());
  }
  return der::tagged(0x30, content);
}

constexpr const char* kSetRightOrWasAhead =
    "set the clock right; if it is, and it was ahead then, add --clock-was-ahead";

void refuse_if_behind(Time now, std::optional<Time> recorded, std::string_view what, const char* hint) {
  if (!recorded || now >= *recorded) return;
  throw Error(ErrorCode::clock,
              fmt::format("this machine's clock says {}, but {} at {}", format_time(now), what,
                          format_time(*recorded)),
              hint);
}

// 0 if there is none.
std::uint64_t last_complete_of(const std::vector<CertificateRevocationList>& lists) {
  std::uint64_t number = 0;
  for (const CertificateRevocationList& list : lists) {
    if (!list.delta_base()) number = std::max(number, list.number());
  }
  return number;
}

// A delta list that is older than a complete one says nothing any more.
std::vector<CertificateRevocationList> in_force(std::vector<CertificateRevocationList> lists) {
  std::uint64_t complete = last_complete_of(lists);
  std::erase_if(lists, [&](const CertificateRevocationList& list) { return list.number() < complete; });
  return lists;
}

// What a list names and a ledger from a back-up does not know to be revoked; `known` to be, which grows.
std::vector<RevocationEntry> forgotten_in(const CertificateRevocationList& list, Ledger& ledger, Time now,
                                          std::unordered_set<std::string>& known) {
  std::vector<RevocationEntry> forgotten;
  for (const auto& [serial, revocation] : list.entries()) {
    std::string hex = serial.hex();
    if (revocation.reason == RevocationReason::remove_from_crl || !known.insert(hex).second) continue;
    std::optional<CertificateRecord> record = ledger.certificates.with_serial(hex);
    if (record && record->state == CertificateState::issued) {
      throw Error(
          ErrorCode::configuration,
          fmt::format("the revocation list {} names the certificate {}, and this ledger has it as issued",
                      list.number(), hex),
          fmt::format("the ledger is from a back-up; revoke it again: fleetroot-ca cert revoke --serial {} "
                      "--reason {}",
                      hex, name_of(revocation.reason)));
    }
    forgotten.push_back({.serial = hex, .reason = revocation.reason, .date = std::min(revocation.date, now)});
  }
  return forgotten;
}

void refuse_if_behind_the_ledger(Time now, Ledger& ledger, const std::string& issuer_key_id) {
  refuse_if_behind(now, ledger.certificates.latest_time(), "a certificate was issued", kSetRightOrDisown);
  if (std::optional<PublishedList> last = ledger.crls.last(issuer_key_id)) {
    refuse_if_behind(now, last->this_update, "a revocation list was published", kSetRightOrWasAhead);
  }
}

void refuse_delta_without(const std::optional<PublishedList>& base,
                          const std::vector<CertificateRevocationList>& held) {
  constexpr const char* kHint = "publish a complete one first: leave out --delta";
  if (!base) {
    throw Error(ErrorCode::configuration, "there is no complete revocation list for a delta to go with",
                kHint);
  }
  if (std::uint64_t number = last_complete_of(held); number > base->number) {
    throw Error(
        ErrorCode::configuration,
        fmt::format("a delta would go with list {}, which was not published from this ledger", number),
        kHint);
  }
}

void disown_later_lists(Ledger& ledger, const std::string& issuer_key_id, Time now) {
  long long lists = ledger.crls.disown_later(issuer_key_id, now);
  if (lists == 0) return;
  ledger.log.append("crl.disowned", now, {{"issuer_key_id", issuer_key_id}, {"lists", lists}});
}

}  // namespace

Bytes encode_list(const ListPlan& plan, const IssuerFacts& issuer) {
  constexpr unsigned kVersion2 = 1;
  Bytes extensions = der::sequence(
      {extension(kAuthorityKeyIdentifier, false, der::sequence({der::tagged(0x80, issuer.key_identifier)})),
       extension(kCrlNumber, false, der::integer(plan.number)),
       plan.base == 0 ? Bytes() : extension(kDeltaCrlIndicator, true, der::integer(plan.base))});
  return der::sequence({der::small_integer(kVersion2), signature_algorithm_of(issuer.algorithm), issuer.name,
                        der::time(plan.this_update), der::time(plan.next_update),
                        encode_entries(plan.entries), der::explicit_tag(0, extensions)});
}

ListPlan plan_list(Ledger& ledger, const std::string& issuer_key_id, const WantedList& wanted, Time now) {
  refuse_if_behind_the_ledger(now, ledger, issuer_key_id);
  bool is_delta = wanted.kind == ListKind::delta;
  std::vector<CertificateRevocationList> held = in_force(wanted.held);
  std::optional<PublishedList> base = ledger.crls.last_complete(issuer_key_id);
  if (is_delta) refuse_delta_without(base, held);
  ListPlan plan{.number = ledger.crls.next_number(issuer_key_id),
                .base = is_delta ? base->number : 0,
                .this_update = now,
                .next_update = wanted.validity.end(now),
                .entries = {}};
  auto refuse_if_later = [&](Time recorded, std::string_view what) {
    if (!wanted.clock_was_ahead) refuse_if_behind(now, recorded, what, kSetRightOrWasAhead);
  };
  std::unordered_set<std::string> known;
  ledger.certificates.each_revoked(issuer_key_id, [&](const RevokedCertificate& revoked) {
    refuse_if_later(revoked.date, "a certificate was revoked");
    if (!held.empty()) known.insert(revoked.serial);
    bool is_news = !base || revoked.first_list > base->number;
    bool has_stood_expired = !is_news && revoked.not_after < base->this_update;
    if (has_stood_expired || (is_delta && !is_news)) return;
    plan.entries.push_back(
        {.serial = revoked.serial, .reason = revoked.reason, .date = std::min(revoked.date, now)});
  });
  for (const CertificateRevocationList& list : held) {
    refuse_if_later(list.this_update(), "a revocation list was published");
    plan.number = std::max(plan.number, list.number() + 1);
    // When these expire, nobody knows any more: they stay for ever.
    std::vector<RevocationEntry> forgotten = forgotten_in(list, ledger, now, known);
    bool is_on_base = is_delta && !list.delta_base();
    if (!is_on_base) plan.entries.insert(plan.entries.end(), forgotten.begin(), forgotten.end());
  }
  return plan;
}

CertificateRevocationList publish_list(Ledger& ledger, const Signer& signer, const Certificate& issuer,
                                       const WantedList& wanted, const Clock& clock,
                                       const std::function<void(const CertificateRevocationList&)>& write) {
  std::string issuer_key_id = to_hex(signer.facts.key_identifier);
  ListPlan plan;
  Bytes tbs;
  {
    // What is revoked from here on finds this number taken, and is news for the next list.
    WriteTransaction transaction = ledger.write();
    Time now = clock.now();
    if (wanted.clock_was_ahead) disown_later_lists(ledger, issuer_key_id, now);
    plan = plan_list(ledger, issuer_key_id, wanted, now);
    tbs = encode_list(plan, signer.facts);
    ledger.crls.reserve(issuer_key_id, plan.number, plan.base, plan.this_update, sha256_hex(tbs));
    transaction.commit();
  }
  CertificateRevocationList list = sign_list(tbs, signer.key, issuer);
  write(list);
  WriteTransaction transaction = ledger.write();
  ledger.crls.publish(issuer_key_id, plan.number);
  ledger.log.append("crl.published", plan.this_update,
                    {{"issuer", issuer.subject()},
                     {"issuer_key_id", issuer_key_id},
                     {"number", plan.number},
                     {"base", plan.base},
                     {"entries", plan.entries.size()},
                     {"next_update", format_time(plan.next_update)},
                     {"sha256", list.fingerprint()}});
  transaction.commit();
  return list;
}

}  // namespace fleetroot::ca
