#include "lib/media/response_bundle.h"

#include "lib/media/bundle_json.h"
#include "lib/media/request_bundle.h"

namespace fleetroot::media {
namespace {

constexpr const char* kFormat = "fleetroot-response-bundle/1";
constexpr std::size_t kLongestChain = 10;

Certificate certificate_in(const Bytes& der, const char* member) {
  try {
    return Certificate::from_der(der);
  } catch (const Error& error) {
    refuse_member(member, error.message());
  }
}

Json to_json(const Answer& answer) {
  Json json{{"device_id", answer.device_id.text()}, {"request", answer.request}};
  if (answer.certificate) {
    json["certificate"] = to_base64(*answer.certificate);
  } else {
    json["error"] = {{"code", name_of(answer.refusal->code())},
                     {"message", answer.refusal->message()},
                     {"hint", answer.refusal->hint()}};
  }
  return json;
}

Error parse_refusal(const Json& json) {
  Members members(json, "an error");
  Error refusal(error_code_from_name(members.text("code")), members.text("message"), members.text("hint"));
  members.refuse_others();
  return refusal;
}

Answer parse_answer(const Json& json) {
  Members members(json, "an answer");
  Answer answer{.device_id = members.parsed("device_id", DeviceId::parse),
                .request = members.digest("request"),
                .certificate = {},
                .refusal = {}};
  if (const Json* refusal = members.optional("error")) {
    answer.refusal = parse_refusal(*refusal);
  } else {
    answer.certificate = certificate_in(members.base64("certificate"), "certificate").der();
  }
  members.refuse_others();
  return answer;
}

}  // namespace

std::string ResponseBundle::to_json() const {
  Json answer_list = Json::array();
  for (const Answer& answer : answers) answer_list.push_back(media::to_json(answer));
  Json chain_list = Json::array();
  for (const Certificate& certificate : chain) chain_list.push_back(to_base64(certificate.der()));
  Json json{{"format", kFormat},
            {"ca", ca},
            {"station", station.text()},
            {"sequence", sequence},
            {"request_bundle", request_bundle},
            {"order", order.text()},
            {"created", format_time(created)},
            {"answers", std::move(answer_list)},
            {"chain", std::move(chain_list)}};
  if (crl) json["crl"] = to_base64(*crl);
  json["checkpoint"] = {{"entries", log_entries}, {"digest", log_digest}};
  // What a refusal says may repeat what a request said.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

ResponseBundle ResponseBundle::parse(const std::string& json) {
  Json object = parse_strictly(json);
  Members members(object, "a response bundle");
  if (members.text("format") != kFormat) refuse_member("format", std::string("is not ") + kFormat);
  ResponseBundle bundle{.ca = members.digest("ca"),
                        .station = members.parsed("station", StationName::parse),
                        .sequence = members.number("sequence"),
                        .request_bundle = members.digest("request_bundle"),
                        .order = members.parsed("order", OrderId::parse),
                        .created = members.time("created"),
                        .answers = {},
                        .chain = {},
                        .crl = {},
                        .log_entries = 0,
                        .log_digest = {}};
  for (const Json& answer : members.list("answers", kMaximumItems))
    bundle.answers.push_back(parse_answer(answer));
  for (const Json& certificate : members.list("chain", kLongestChain)) {
    if (!certificate.is_string()) refuse_member("chain", "holds something that is not a text");
    std::optional<Bytes> der = from_base64(certificate.get<std::string>());
    if (!der) refuse_member("chain", "is not base64 in one line");
    bundle.chain.push_back(certificate_in(*der, "chain"));
  }
  if (members.optional("crl") != nullptr) bundle.crl = members.base64("crl");
  Members checkpoint(members.any("checkpoint"), "a checkpoint");
  bundle.log_entries = checkpoint.number("entries");
  bundle.log_digest = checkpoint.digest("digest");
  checkpoint.refuse_others();
  members.refuse_others();
  return bundle;
}

}  // namespace fleetroot::media
