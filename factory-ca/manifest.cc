#include "factory-ca/manifest.h"

#include <fmt/format.h>

#include <map>

namespace fleetroot::ca {
namespace {

nlohmann::ordered_json device_of(const CertificateRecord& record, const std::string& superseded_by) {
  bool is_revoked = record.state == CertificateState::revoked;
  return {{"device_id", record.subject},
          {"serial", record.serial},
          {"certificate_sha256", sha256_hex(record.certificate)},
          {"public_key_sha256", record.public_key},
          {"key_algorithm", record.key_algorithm},
          {"order", record.order},
          {"station", record.sender},
          {"issued_at", record.issued_at},
          {"not_after", format_time(record.not_after)},
          {"confirmation", name_of(record.confirmation)},
          {"confirmed_at", record.confirmed_at},
          {"status", name_of(record.state)},
          {"revoked_at", record.revoked_at},
          {"revocation_reason", is_revoked ? name_of(record.revocation_reason) : ""},
          {"supersedes", record.supersedes},
          {"superseded_by", superseded_by}};
}

// RFC 4180: what needs quotes gets them.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

nlohmann::ordered_json manifest_of(Ledger& ledger, const OrderId& order_id, const Certificate& issuing,
                                   const Clock& clock) {
  Time now = clock.now();
  ReadTransaction one_moment = ledger.read();
  WorkOrder order = ledger.orders.get(order_id);
  std::map<std::string, std::string> successors;
  ledger.certificates.each(SubjectKind::device, order_id.text(), [&](const CertificateRecord& record) {
    if (!record.supersedes.empty()) successors[record.supersedes] = record.serial;
  });
  nlohmann::ordered_json devices = nlohmann::ordered_json::array();
  ledger.certificates.each(SubjectKind::device, order_id.text(), [&](const CertificateRecord& record) {
    auto successor = successors.find(record.serial);
    devices.push_back(device_of(record, successor == successors.end() ? "" : successor->second));
  });
  Checkpoint checkpoint = ledger.log.checkpoint();
  return {{"format", "fleetroot-manifest/1"},
          {"ca", issuing.subject()},
          {"ca_sha256", issuing.fingerprint()},
          {"order", order.id.text()},
          {"profile", order.profile.text()},
          {"state", order.is_open ? "open" : "closed"},
          {"quantity", order.quantity},
          {"created", format_time(now)},
          {"checkpoint", {{"entries", checkpoint.sequence}, {"digest", checkpoint.digest}}},
          {"devices", std::move(devices)}};
}

std::string manifest_csv(const nlohmann::ordered_json& manifest) {
  static constexpr const char* kColumns[] = {
      "device_id",    "serial",  "certificate_sha256", "public_key_sha256", "key_algorithm",
      "order",        "station", "issued_at",          "not_after",         "confirmation",
      "confirmed_at", "status",  "revoked_at",         "revocation_reason", "supersedes",
      "superseded_by"};
  std::string csv;
  for (const char* column : kColumns) csv += (csv.empty() ? "" : ",") + std::string(column);
  csv += "\r\n";
  for (const nlohmann::ordered_json& device : manifest.at("devices")) {
    std::string line;
    for (const char* column : kColumns) {
      if (column != kColumns[0]) line += ',';
      line += csv_field(device.at(column).get<std::string>());
    }
    csv += line + "\r\n";
  }
  return csv;
}

}  // namespace fleetroot::ca
