#include "factory-ca/list_numbers.h"

#include <fmt/format.h>

namespace fleetroot::ca {

std::uint64_t ListNumbers::next_number(const std::string& issuer_key_id) {
  return with_store_errors([&] {
    long long last = 0;
    database_.sql() << "SELECT coalesce(max(number), 0) FROM crls WHERE issuer_key_id = :issuer",
        soci::use(issuer_key_id), soci::into(last);
    return static_cast<std::uint64_t>(last) + 1;
  });
}

std::optional<PublishedList> ListNumbers::last_where(const std::string& issuer_key_id,
                                                     const char* condition) {
  return with_store_errors([&]() -> std::optional<PublishedList> {
    long long number = 0;
    long long this_update = 0;
    database_.sql() << fmt::format(
        "SELECT number, this_update FROM crls WHERE issuer_key_id = :issuer AND state = 'published'{} "
        "ORDER BY number DESC LIMIT 1",
        condition),
        soci::use(issuer_key_id), soci::into(number), soci::into(this_update);
    if (!database_.sql().got_data()) return std::nullopt;
    return PublishedList{.number = static_cast<std::uint64_t>(number),
                         .this_update = Time(std::chrono::seconds(this_update))};
  });
}

std::optional<PublishedList> ListNumbers::last_complete(const std::string& issuer_key_id) {
  return last_where(issuer_key_id, " AND base_number = 0");
}

std::optional<PublishedList> ListNumbers::last(const std::string& issuer_key_id) {
  return last_where(issuer_key_id, "");
}

void ListNumbers::reserve(const std::string& issuer_key_id, std::uint64_t number, std::uint64_t base,
                          Time this_update, const std::string& tbs_digest) {
  auto number_value = static_cast<long long>(number);
  auto base_value = static_cast<long long>(base);
  long long seconds = this_update.time_since_epoch().count();
  with_store_errors([&] {
    database_.sql()
        << "INSERT INTO crls (issuer_key_id, number, base_number, this_update, tbs_digest, state) "
           "VALUES (:issuer, :number, :base, :this_update, :digest, 'reserved')",
        soci::use(issuer_key_id), soci::use(number_value), soci::use(base_value), soci::use(seconds),
        soci::use(tbs_digest);
  });
}

void ListNumbers::publish(const std::string& issuer_key_id, std::uint64_t number) {
  auto value = static_cast<long long>(number);
  with_store_errors([&] {
    database_.sql()
        << "UPDATE crls SET state = 'published' WHERE issuer_key_id = :issuer AND number = :number",
        soci::use(issuer_key_id), soci::use(value);
  });
}

void ListNumbers::each(const std::function<void(const ListRecord&)>& look) {
  ListRecord record;
  long long this_update = 0;
  std::string state;
  using soci::into;
  database_.rows(
      "SELECT issuer_key_id, number, base_number, this_update, state FROM crls ORDER BY issuer_key_id, "
      "number",
      [&] {
        record.this_update = Time(std::chrono::seconds(this_update));
        record.is_published = state == "published";
        look(record);
      },
      into(record.issuer_key_id), into(record.number), into(record.base), into(this_update), into(state));
}

long long ListNumbers::disown_later(const std::string& issuer_key_id, Time now) {
  long long seconds = now.time_since_epoch().count();
  return database_.change(
      "UPDATE crls SET state = 'reserved' WHERE issuer_key_id = :issuer AND state = 'published' AND "
      "this_update > :now",
      soci::use(issuer_key_id), soci::use(seconds));
}

}  // namespace fleetroot::ca
