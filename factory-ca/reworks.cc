#include "factory-ca/reworks.h"

#include <fmt/format.h>

namespace fleetroot::ca {
namespace {

// Calls `look` for each rework that `rest` of the statement chooses.
void select_each(Database& database, std::string_view rest, const std::function<void(const Rework&)>& look,
                 const auto&... values) {
  using soci::into;
  Rework rework;
  std::string state;
  auto take = [&] {
    rework.state = state == "used"        ? ReworkState::used
                   : state == "withdrawn" ? ReworkState::withdrawn
                                          : ReworkState::authorised;
    look(rework);
  };
  database.rows(
      fmt::format("SELECT id, device_id, reason, state, serial, authorised_at, ended_at FROM reworks {}",
                  rest),
      take, into(rework.id), into(rework.device_id), into(rework.reason), into(state), into(rework.serial),
      into(rework.authorised_at), into(rework.ended_at), soci::use(values)...);
}

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
  std::optional<Rework> open;
  select_each(
      database_, "WHERE device_id = :device_id AND state = 'authorised'",
      [&](const Rework& rework) { open = rework; }, device_id);
  return open;
}

void Reworks::authorise(const std::string& device_id, const std::string& reason, Time now) {
  std::string authorised_at = format_time(now);
  database_.change(
      "INSERT INTO reworks (device_id, reason, state, authorised_at) "
      "VALUES (:device_id, :reason, 'authorised', :authorised_at)",
      soci::use(device_id), soci::use(reason), soci::use(authorised_at));
}

bool Reworks::use(long long id, const std::string& serial, Time now) {
  std::string ended_at = format_time(now);
  return database_.change(
             "UPDATE reworks SET state = 'used', serial = :serial, ended_at = :ended_at "
             "WHERE id = :id AND state = 'authorised'",
             soci::use(serial), soci::use(ended_at), soci::use(id)) == 1;
}

void Reworks::withdraw(const std::string& device_id, Time now) {
  std::string ended_at = format_time(now);
  database_.change(
      "UPDATE reworks SET state = 'withdrawn', ended_at = :ended_at "
      "WHERE device_id = :device_id AND state = 'authorised'",
      soci::use(ended_at), soci::use(device_id));
}

void Reworks::each(const std::function<void(const Rework&)>& look) {
  select_each(database_, "ORDER BY id", look);
}

}  // namespace fleetroot::ca
