#include "factory-ca/log_check.h"

#include <fmt/format.h>

namespace fleetroot::ca {
namespace {

// It may be anybody's.
std::string text_of(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

Error broken(std::string what) {
  return {ErrorCode::io, std::move(what),
          "stop issuing and keep the ledger: somebody changed it, or the disk did"};
}

void LoggedEvent::refuse_unless_said(const std::string& of, const char* member,
                                     const nlohmann::json& held) const {
  const nlohmann::json& said = details.at(member);
  if (held == said) return;
  throw broken(fmt::format("{} has {} {}, and entry {} of the log says {}", of, member, text_of(held), entry,
                           text_of(said)));
}

void LoggedEvent::refuse_unless_said_or_silent(const std::string& of, const char* member,
                                               const nlohmann::json& held) const {
  if (details.contains(member)) refuse_unless_said(of, member, held);
}

}  // namespace fleetroot::ca
