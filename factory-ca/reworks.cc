#include "factory-ca/reworks.h"

#include <fmt/format.h>

namespace fleetroot::ca {
namespace {

struct Row {
  std::string state;
  Rework rework;

  soci::statement select(soci::session& sql, const std::string& rest, const std::string* device_id) {
    soci::statement statement(sql);
    statement.exchange(soci::into(rework.id));
    for (std::string* text : {&rework.device_id, &rework.reason, &state, &rework.serial,
                              &rework.authorised_at, &rework.ended_at}) {
      statement.exchange(soci::into(*text));
    }
    if (device_id != nullptr) statement.exchange(soci::use(*device_id));
    statement.alloc();
    statement.prepare(fmt::format(
        "SELECT id, device_id, reason, state, serial, authorised_at, ended_at FROM reworks {}", rest));
    statement.define_and_bind();
    return statement;
  }
  const Rework& take() {
    rework.state = state == "used"        ? ReworkState::used
                   : state == "withdrawn" ? ReworkState::withdrawn
                                          : ReworkState::authorised;
    return rework;
  }
};

}  // namespace

std::string_view name_of(ReworkState state) {
  switch (state) {
    case ReworkState::authorised:
      return "authorised";
    case ReworkState::used:
      return "used";
    case ReworkState::withdrawn:
      return "withdrawn";
  }
  return "";
}

std::optional<Rework> Reworks::open(const std::string& device_id) {
  return with_store_errors([&]() -> std::optional<Rework> {
    Row row;
    soci::statement statement =
        row.select(database_.sql(), "WHERE device_id = :device_id AND state = 'authorised'", &device_id);
    if (!statement.execute(true)) return std::nullopt;
    return row.take();
  });
}

void Reworks::authorise(const std::string& device_id, const std::string& reason, Time now) {
  std::string authorised_at = format_time(now);
  with_store_errors([&] {
    database_.sql() << "INSERT INTO reworks (device_id, reason, state, authorised_at) "
                       "VALUES (:device_id, :reason, 'authorised', :authorised_at)",
        soci::use(device_id), soci::use(reason), soci::use(authorised_at);
  });
}

bool Reworks::use(long long id, const std::string& serial, Time now) {
  std::string ended_at = format_time(now);
  return with_store_errors([&] {
    soci::statement update =
        (database_.sql().prepare << "UPDATE reworks SET state = 'used', serial = :serial, "
                                    "ended_at = :ended_at WHERE id = :id AND state = 'authorised'",
         soci::use(serial), soci::use(ended_at), soci::use(id));
    update.execute(true);
    return update.get_affected_rows() == 1;
  });
}

void Reworks::withdraw(const std::string& device_id, Time now) {
  std::string ended_at = format_time(now);
  with_store_errors([&] {
    database_.sql() << "UPDATE reworks SET state = 'withdrawn', ended_at = :ended_at "
                       "WHERE device_id = :device_id AND state = 'authorised'",
        soci::use(ended_at), soci::use(device_id);
  });
}

void Reworks::each(const std::function<void(const Rework&)>& look) {
  with_store_errors([&] {
    Row row;
    soci::statement statement = row.select(database_.sql(), "ORDER BY id", nullptr);
    statement.execute();
    while (statement.fetch()) look(row.take());
  });
}

}  // namespace fleetroot::ca
