#include "device-gateway/answers.h"

#include <nlohmann/json.hpp>

namespace fleetroot::gateway {

http::Response refusal_answer(unsigned status, Refusal refusal, std::string_view description) {
  nlohmann::ordered_json body{{"code", name_of(refusal)},
                              {"description", description.empty() ? words_of(refusal) : description}};
  return http::Response::json(status,
                              body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

}  // namespace fleetroot::gateway
