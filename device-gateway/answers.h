// How the gateway says no over HTTP: {"code":…,"description":…}, which is how aktualizr reads it too.
#pragma once

#include "device-gateway/refusal.h"
#include "lib/http/message.h"

namespace fleetroot::gateway {

http::Response refusal_answer(unsigned status, Refusal refusal, std::string_view description = {});

}  // namespace fleetroot::gateway
