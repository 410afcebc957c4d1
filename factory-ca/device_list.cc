#include "factory-ca/device_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "factory-ca/csv.h"
#include "factory-ca/distinguished_name.h"
#include "lib/base/error.h"

namespace fleetroot::ca {
namespace {

constexpr const char* kIdColumn = "device_id";
constexpr std::size_t kMaximumValue = 256;

[[noreturn]] void refuse(ErrorCode code, std::size_t line, std::string_view why, std::string hint) {
  throw Error(code, fmt::format("line {}: {}", line, why), std::move(hint));
}

void refuse_bad_header(const CsvRow& header) {
  std::set<std::string> seen;
  for (const std::string& name : header.fields) {
    if (name.empty() || name.size() > 64 ||
        name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != std::string::npos) {
      refuse(ErrorCode::bad_request, header.line, "a column's name is not 1 to 64 of a-z 0-9 _",
             "name the columns in the first line, as in device_id,hw_model,hw_serial");
    }
    if (!seen.insert(name).second) {
      refuse(ErrorCode::bad_request, header.line, fmt::format("the column {} is there twice", name),
             "name each column once");
    }
  }
  if (!seen.contains(kIdColumn)) {
    refuse(ErrorCode::bad_request, header.line, "there is no column device_id",
           "name the columns in the first line; device_id is required");
  }
}

DeviceId parse_id(const CsvRow& row, const std::string& text) {
  try {
    return DeviceId::parse(text);
  } catch (const Error& error) {
    refuse(error.code(), row.line, error.message(), error.hint());
  }
}

DeviceRecord parse_row(const CsvRow& header, const CsvRow& row, std::size_t id_column) {
  if (row.fields.size() != header.fields.size()) {
    refuse(ErrorCode::bad_request, row.line,
           fmt::format("{} fields, where the header has {}", row.fields.size(), header.fields.size()),
           "give every row one field a column");
  }
  DeviceRecord device{.id = parse_id(row, row.fields[id_column]), .columns = {}};
  for (std::size_t i = 0; i < row.fields.size(); ++i) {
    if (i == id_column) continue;
    if (row.fields[i].size() > kMaximumValue || !is_plain_text(row.fields[i])) {
      refuse(ErrorCode::bad_request, row.line,
             fmt::format("the value of {} is longer than {} octets or no plain UTF-8 text", header.fields[i],
                         kMaximumValue),
             "correct the value");
    }
    device.columns.emplace(header.fields[i], row.fields[i]);
  }
  return device;
}

}  // namespace

std::vector<DeviceRecord> parse_device_list(std::string_view csv) {
  std::vector<CsvRow> rows = parse_csv(csv);
  if (rows.size() < 2) {
    throw Error(ErrorCode::bad_request, "the list names no device",
                "write a header with device_id, then one line a device");
  }
  const CsvRow& header = rows.front();
  refuse_bad_header(header);
  auto id_column = static_cast<std::size_t>(std::find(header.fields.begin(), header.fields.end(), kIdColumn) -
                                            header.fields.begin());
  std::vector<DeviceRecord> devices;
  std::set<std::string> seen;
  for (auto row = rows.begin() + 1; row != rows.end(); ++row) {
    devices.push_back(parse_row(header, *row, id_column));
    if (!seen.insert(devices.back().id.text()).second) {
      refuse(ErrorCode::bad_request, row->line,
             fmt::format("the device {} is there twice", devices.back().id.text()), "list it once");
    }
  }
  return devices;
}

}  // namespace fleetroot::ca
