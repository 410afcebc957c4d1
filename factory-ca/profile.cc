#include "factory-ca/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "lib/base/config.h"
#include "lib/base/files.h"
#include "lib/base/memo.h"
#include "lib/x509/der.h"

namespace fleetroot::ca {
namespace {

struct KeyUsageWord {
  std::string_view word;
  std::uint16_t bit;
};
// RFC 5280 section 4.2.1.3 without the two that make a CA.
constexpr std::array kKeyUsageWords{
    KeyUsageWord{"digitalSignature", kDigitalSignature}, KeyUsageWord{"nonRepudiation", 0x4000},
    KeyUsageWord{"keyEncipherment", 0x2000}, KeyUsageWord{"dataEncipherment", 0x1000},
    KeyUsageWord{"keyAgreement", 0x0800}};

std::vector<KeyAlgorithm> read_algorithms(ConfigFile& file) {
  constexpr const char* kKey = "key_algorithms";
  std::vector<std::string> words = file.strings(kKey).value_or(std::vector<std::string>());
  if (words.empty()) file.refuse(kKey, "is missing or empty", "list at least one, as in [\"p256\"]");
  std::vector<KeyAlgorithm> algorithms;
  for (const std::string& word : words) {
    try {
      algorithms.push_back(parse_key_algorithm(word));
    } catch (const Error& error) {
      file.refuse(kKey, "lists something unknown: " + error.message(), error.hint());
    }
  }
  return algorithms;
}

std::uint16_t read_key_usage(ConfigFile& file) {
  constexpr const char* kKey = "key_usage";
  std::uint16_t bits = 0;
  for (const std::string& word : file.strings(kKey).value_or(std::vector<std::string>())) {
    auto known = std::find_if(kKeyUsageWords.begin(), kKeyUsageWords.end(),
                              [&](const KeyUsageWord& usage) { return usage.word == word; });
    if (known == kKeyUsageWords.end()) {
      file.refuse(kKey, fmt::format("does not take \"{}\"", word),
                  "a device's certificate takes digitalSignature, nonRepudiation, keyEncipherment, "
                  "dataEncipherment, keyAgreement");
    }
    bits |= known->bit;
  }
  if (bits == 0) file.refuse(kKey, "is missing or empty", "write [\"digitalSignature\"]");
  return bits;
}

// As it will be read back from a certificate: OpenSSL takes "1 2..03" for 1.2.3, too.
void refuse_unless_object_identifier(ConfigFile& file, const char* key, const std::string& oid) {
  constexpr std::size_t kMaximum = 100;
  std::string dotted = "." + oid + ".";
  bool is_plain = oid.size() <= kMaximum && oid.find_first_not_of("0123456789.") == std::string::npos;
  for (std::size_t i = 1; is_plain && i < dotted.size(); ++i) {
    bool empty = dotted[i - 1] == '.' && dotted[i] == '.';
    bool padded = dotted[i - 1] == '.' && dotted[i] == '0' && dotted[i + 1] != '.';
    is_plain = !empty && !padded;
  }
  if (!is_plain) {
    file.refuse(key, fmt::format("does not take \"{}\"", oid),
                "write an object identifier in dotted decimal, as in 1.3.6.1.5.5.7.3.2");
  }
  try {
    der::object_identifier(oid);
  } catch (const Error& error) {
    file.refuse(key, "cannot be used: " + error.message(), error.hint());
  }
}

std::vector<std::string> read_extended_key_usage(ConfigFile& file) {
  constexpr const char* kKey = "extended_key_usage";
  std::vector<std::string> oids;
  for (const std::string& word : file.strings(kKey).value_or(std::vector<std::string>())) {
    std::string oid = word == "clientAuth" ? kClientAuth : word == "serverAuth" ? kServerAuth : word;
    if (oid.find_first_not_of("0123456789.") != std::string::npos) {
      file.refuse(kKey, fmt::format("does not take \"{}\"", word),
                  "write clientAuth, serverAuth, or an object identifier in dotted decimal");
    }
    refuse_unless_object_identifier(file, kKey, oid);
    if (std::find(oids.begin(), oids.end(), oid) != oids.end()) {
      file.refuse(kKey, fmt::format("lists \"{}\" twice", word), "list it once");
    }
    oids.push_back(oid);
  }
  return oids;
}

void read_attribute(ConfigFile& file, const char* key, NameAttributeType type, DistinguishedName& subject) {
  std::optional<std::string> value = file.string(key);
  if (!value) return;
  if (std::string reason = reason_against(type, *value); !reason.empty()) {
    file.refuse(key, "cannot be used: " + reason, "correct the value");
  }
  subject.push_back({type, *value});
}

std::optional<ValueSource> read_source(ConfigFile& file, const char* key) {
  std::optional<std::string> text = file.string(key);
  if (!text) return std::nullopt;
  std::optional<ValueSource> source = ValueSource::parse(*text);
  if (!source) {
    file.refuse(key, fmt::format("does not take \"{}\"", *text), "write \"device_id\" or \"column:NAME\"");
  }
  return source;
}

}  // namespace

std::optional<ValueSource> ValueSource::parse(std::string_view text) {
  constexpr std::string_view kColumn = "column:";
  if (text == "device_id") return ValueSource{};
  if (!text.starts_with(kColumn) || text.size() == kColumn.size()) return std::nullopt;
  return ValueSource{.column = std::string(text.substr(kColumn.size()))};
}

const std::string& ValueSource::of(const DeviceRecord& device) const {
  if (column.empty()) return device.id.text();
  auto found = device.columns.find(column);
  if (found == device.columns.end() || found->second.empty()) {
    throw Error(
        ErrorCode::bad_request,
        fmt::format("the profile needs the column {}, and the device {} has none", column, device.id.text()),
        "give the order a list with that column, or change the profile");
  }
  return found->second;
}

std::optional<Validity> Validity::parse(std::string_view text) {
  if (text == "none") return Validity(Unit::none, 0);
  int count = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || count < 1) return std::nullopt;
  std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  constexpr int kMaximumYears = 100;
  constexpr int kMaximumDays = 36500;
  if ((unit == " years" || unit == " year") && count <= kMaximumYears) return Validity(Unit::years, count);
  if ((unit == " days" || unit == " day") && count <= kMaximumDays) return Validity(Unit::days, count);
  return std::nullopt;
}

Time Validity::end(Time begin) const {
  if (unit_ == Unit::none) return kNoExpiry;
  if (unit_ == Unit::days) return begin + std::chrono::days(count_);
  auto day = std::chrono::floor<std::chrono::days>(begin);
  std::chrono::year_month_day date{day};
  date += std::chrono::years(count_);
  // 29 February in a year that has none: the last day that the month has.
  if (!date.ok()) date = date.year() / date.month() / std::chrono::last;
  return Time(std::chrono::sys_days(date)) + (begin - day);
}

Profile Profile::parse(std::string_view toml, std::string file_name) {
  ConfigFile file = ConfigFile::parse(toml, std::move(file_name));
  std::string name = file.required_string("name");
  std::string validity_text = file.required_string("validity");
  std::optional<Validity> validity = Validity::parse(validity_text);
  if (!validity) {
    file.refuse("validity", fmt::format("does not take \"{}\"", validity_text),
                "write \"10 years\" (up to 100), \"365 days\" or \"none\"");
  }
  Profile profile = [&] {
    try {
      return Profile(ProfileName::parse(name), *validity);
    } catch (const Error& error) {
      file.refuse("name", "cannot be used: " + error.message(), error.hint());
    }
  }();
  profile.digest_ = sha256_hex(as_bytes(toml));
  profile.algorithms_ = read_algorithms(file);
  profile.key_usage_ = read_key_usage(file);
  profile.extended_key_usage_ = read_extended_key_usage(file);
  read_attribute(file, "subject.country", NameAttributeType::country, profile.fixed_subject_);
  read_attribute(file, "subject.organization", NameAttributeType::organization, profile.fixed_subject_);
  read_attribute(file, "subject.organizational_unit", NameAttributeType::organizational_unit,
                 profile.fixed_subject_);
  profile.serial_number_ = read_source(file, "subject.serial_number");
  std::optional<std::string> module_type = file.string("hardware_module.type");
  std::optional<ValueSource> module_serial = read_source(file, "hardware_module.serial");
  file.refuse_unknown_keys();
  if (module_type.has_value() != module_serial.has_value()) {
    file.refuse("hardware_module", "needs both type and serial", "write both, or neither");
  }
  if (module_type) {
    refuse_unless_object_identifier(file, "hardware_module.type", *module_type);
    profile.hardware_module_ = HardwareModule{.type = *module_type, .serial = *module_serial};
  }
  return profile;
}

Profile Profile::read(const std::filesystem::path& directory, const ProfileName& name) {
  std::filesystem::path path = directory / (name.text() + ".toml");
  std::optional<std::string> text = read_file_if_present(path);
  if (!text) {
    throw Error(ErrorCode::configuration, fmt::format("there is no profile {}", name.text()),
                fmt::format("make {}, or name one that is there", path.string()));
  }
  static Memo<Profile> parsed;
  Profile profile = parsed.get(path.string() + "\n" + *text, [&] { return parse(*text, path.string()); });
  if (profile.name() != name) {
    throw Error(ErrorCode::configuration,
                fmt::format("{}: name is {}, the file is called {}", path.string(), profile.name().text(),
                            name.text()),
                "give both the same name");
  }
  return profile;
}

bool Profile::allows(KeyAlgorithm algorithm) const {
  return std::find(algorithms_.begin(), algorithms_.end(), algorithm) != algorithms_.end();
}

DistinguishedName Profile::subject_of(const DeviceRecord& device) const {
  DistinguishedName subject = fixed_subject_;
  if (serial_number_) subject.push_back({NameAttributeType::serial_number, serial_number_->of(device)});
  subject.push_back({NameAttributeType::common_name, device.id.text()});
  return subject;
}

CertificatePlan Profile::plan(const DeviceRecord& device, const PublicKey& key, Time not_before) const {
  CertificatePlan plan{.subject = subject_of(device),
                       .public_key = key,
                       .not_before = not_before,
                       .not_after = validity_.end(not_before),
                       .key_usage = key_usage_,
                       .extended_key_usage = extended_key_usage_,
                       .hardware_module = {},
                       .is_ca = false,
                       .path_length = {}};
  if (hardware_module_) {
    plan.hardware_module =
        HardwareModuleName{.type = hardware_module_->type, .serial = hardware_module_->serial.of(device)};
  }
  return plan;
}

void Profile::refuse_unless_sufficient(const DeviceRecord& device) const {
  encode_name(subject_of(device));
  if (hardware_module_) (void)hardware_module_->serial.of(device);
}

void Profile::refuse_if_columns_are_needed() const {
  std::string column = serial_number_ ? serial_number_->column : "";
  if (column.empty() && hardware_module_) column = hardware_module_->serial.column;
  if (column.empty()) return;
  throw Error(ErrorCode::bad_request,
              fmt::format("the profile needs the column {}, and an order with a pattern has none", column),
              "give the order a list with that column, or change the profile");
}

}  // namespace fleetroot::ca
