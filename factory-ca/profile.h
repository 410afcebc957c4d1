// A certificate profile: what a device's certificate says. It alone decides; a request adds its public key
// and nothing else. Written in TOML, read strictly (docs/formats.md lists the keys, under "Configuration").
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "factory-ca/certificate_plan.h"
#include "factory-ca/device_record.h"
#include "lib/base/names.h"

namespace fleetroot::ca {

// Where a value comes from: the device ID, or a column of the order's list.
struct ValueSource {
  std::string column;  // empty: the device ID

  // "device_id" or "column:NAME"; nothing for anything else.
  static std::optional<ValueSource> parse(std::string_view text);
  // Error(bad_request) if the device has no such column, or nothing in it.
  const std::string& of(const DeviceRecord& device) const;
};

class Validity {
 public:
  // "N years" (1 to 100), "N days" (1 to 36500), "none"; nothing for anything else.
  static std::optional<Validity> parse(std::string_view text);
  Time end(Time begin) const;

 private:
  enum class Unit { days, years, none };
  Validity(Unit unit, int count) : unit_(unit), count_(count) {}
  Unit unit_;
  int count_;
};

// Immutable once parsed.
class Profile {
 public:
  // Error(configuration) names file and key.
  static Profile parse(std::string_view toml, std::string file_name);
  // Reads DIRECTORY/NAME.toml, each time, and parses what it has not seen before. Error(configuration). Any
  // thread.
  static Profile read(const std::filesystem::path& directory, const ProfileName& name);

  const ProfileName& name() const { return name_; }
  // SHA-256 of the file, for the log.
  const std::string& digest() const { return digest_; }
  bool allows(KeyAlgorithm algorithm) const;

  // The certificate of a device. Error(bad_request) if the device lacks what the profile needs.
  CertificatePlan plan(const DeviceRecord& device, const PublicKey& key, Time not_before) const;
  // Throws as plan() would, for whoever makes an order before there is a key.
  void refuse_unless_sufficient(const DeviceRecord& device) const;
  // Error(bad_request) if it needs more of a device than its ID.
  void refuse_if_columns_are_needed() const;

 private:
  Profile(ProfileName name, Validity validity) : name_(std::move(name)), validity_(validity) {}
  DistinguishedName subject_of(const DeviceRecord& device) const;

  struct HardwareModule {
    std::string type;
    ValueSource serial;
  };

  ProfileName name_;
  std::string digest_;
  std::vector<KeyAlgorithm> algorithms_;
  Validity validity_;
  std::uint16_t key_usage_ = 0;
  std::vector<std::string> extended_key_usage_;
  DistinguishedName fixed_subject_;
  std::optional<ValueSource> serial_number_;
  std::optional<HardwareModule> hardware_module_;
};

}  // namespace fleetroot::ca
