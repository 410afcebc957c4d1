// The station's memory: which device was begun or finished on which token, with what; and wrong PINs. Every
// call is one durable transaction. One object a thread; several processes may share the file.
#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/store/database.h"
#include "lib/x509/device_id.h"
#include "pkcs11/module.h"
#include "pkcs11/objects.h"
#include "tool/journal_media.h"

namespace fleetroot::station {

// A token's identity across slots and replugging: manufacturer, model and serial number, "/" between. A model
// that numbers none of its tokens ("0000000000000000") is known by the device that it is in, where one is
// named: the same for all tokens of this device, and for no other's.
std::string token_identity(const pkcs11::TokenInfo& token, const std::optional<DeviceId>& device_id);
bool is_numbered(const pkcs11::TokenInfo& token);

// By what wrong PINs are counted; behind it by what they were in journals of before. Not by the device, which
// somebody may get wrong as often as there are tries: tokens without numbers, and with one label, count
// together.
std::vector<std::string> names_for_pins(const pkcs11::TokenInfo& token,
                                        const std::optional<DeviceId>& device_id);

// replaced: the device has its identity on another token by now.
enum class DeviceState { planned, provisioned, replaced };

// A device on a token. A device whose token was replaced has several, one of them provisioned at most.
struct DeviceRecord {
  std::string device_id;
  std::string token;
  std::string order;
  DeviceState state = DeviceState::planned;
  std::string preset;
  std::string algorithm;
  // What lay on the token before the first attempt; all else that is there now came after the plan.
  std::vector<pkcs11::ObjectIdentity> inventory;
  // The fingerprint of the public key that a certificate was asked for since; empty before.
  std::string requested_key;
  // The orders that this was done for by a way that answers at once, and to no avail: a request may be on its
  // way still.
  std::set<std::string> unanswered;
  // What the device got, and what was written beside it; empty while planned.
  Bytes certificate;
  std::vector<Certificate> chain;

  // Whether this is the key that the device got a certificate for on this token, or asked one for.
  bool has_key(const PublicKey& key) const;
};

class Journal {
 public:
  explicit Journal(const std::filesystem::path& file);

  // The provisioned one, or else the one that was begun last.
  std::optional<DeviceRecord> device(const DeviceId& device_id);
  // The device that this token was begun or finished for.
  std::optional<DeviceRecord> device_on_token(const std::string& token);

  // What the token had before is kept until finish() or forget_plan().
  void plan(const DeviceRecord& record, Time now);
  // Before the CA hears of it.
  void request(const DeviceRecord& record);
  // What this device has on other tokens counts as replaced from now on.
  void finish(const DeviceRecord& record, Time now);
  // The attempt was undone: nothing of it is left on the token, of which all is true again that was before.
  void forget_plan(const std::string& token);

  // Of all names together; a wrong one counts for the first.
  unsigned wrong_pins(const std::vector<std::string>& names);
  // Before it is tried: one of which nobody hears any more counts too.
  void count_wrong_pin(const std::vector<std::string>& names);
  // It was not wrong. As clear_wrong_pins(), this may be lost in a power cut: then one more counts.
  void take_wrong_pin_back(const std::vector<std::string>& names);
  void clear_wrong_pins(const std::vector<std::string>& names);

 private:
  Database database_;

 public:
  MediaJournal media;
};

}  // namespace fleetroot::station
