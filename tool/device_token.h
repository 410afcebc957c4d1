// The device's token for one attempt: module, session and lock, and what the ten steps do with its objects.
// A module may hang in any call: whoever makes it is watched (watchdog.h).
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/files.h"
#include "lib/x509/certificate.h"
#include "lib/x509/device_id.h"
#include "pkcs11/key_pair.h"
#include "pkcs11/module.h"
#include "pkcs11/objects.h"
#include "pkcs11/session.h"

namespace fleetroot::station {

class Journal;

// Where a chain certificate goes on the token: under its own key's identifier, out of the way of the
// device's.
pkcs11::KeyName chain_name(const Certificate& certificate);

// Owns the module. One thread.
class DeviceToken {
 public:
  // Finds the token of the device, where one is named, without a session yet. Error as Module's.
  DeviceToken(const pkcs11::Uri& uri, const pkcs11::ModuleOptions& module,
              const std::optional<DeviceId>& device_id);

  const pkcs11::TokenInfo& info() const { return info_; }
  // By which the journal and other processes know it (token_identity).
  const std::string& identity() const { return identity_; }
  const pkcs11::ModuleProfile& profile() const { return module_.profile(); }
  const pkcs11::Session& session() const { return *session_; }

  // Keeps every other station process of this home off this token until the object dies; where the token has
  // a serial number, those of other homes on this machine too. Error(token_busy).
  void lock(const std::filesystem::path& lock_directory);
  // One wrong PIN costs one try: Error(pin_wrong).
  void open_session(const pkcs11::Pin& pin);
  // The same, with wrong PINs counted in the journal: a token that does not show how many tries are left is
  // not tried until it locks. Whatever ends this process, a PIN that was sent is counted: nothing is sent
  // that cannot be. Error(pin_locked), unless somebody says that the PIN is right now (`retry_pin`). Nothing
  // else clears the count of tokens without serial numbers.
  void open_session(const pkcs11::Pin& pin, Journal& journal, bool retry_pin);
  // A new session while the old one still keeps the login, then the old one closes: nothing that the token
  // remembers of the old session can answer for what is stored. A token with no room for two is logged in to
  // again, as by open_session().
  void renew_session(const pkcs11::Pin& pin, Journal& journal, bool retry_pin);

  // The pair under this spec's ID, audited and proven; nothing if there is none, or what a broken attempt
  // left of one. A pair that is sound and does not sign is an Error: it may be certified. So is a call that
  // the token answered with one.
  std::optional<pkcs11::KeyPair> usable_pair(const pkcs11::KeySpec& spec);

  // Whether a certificate for this key lies under `name`, from whomever.
  bool holds_certificate_for(const PublicKey& key, const pkcs11::KeyName& name) const;
  // Makes exactly `certificate` lie under `name`: stores it unless it is there byte for byte, then removes
  // every other certificate under this ID (a placeholder, or what a broken attempt left).
  void put_certificate(const Certificate& certificate, const pkcs11::KeyName& name);
  // Whether the token gives back these bytes, and nothing else, under this ID.
  bool holds_alone(const Certificate& certificate, const pkcs11::KeyName& name) const;
  // Right after it was written: Error(token_full) unless holds_alone().
  void refuse_unless_stored(const Certificate& certificate, const pkcs11::KeyName& name) const;

  void destroy(const std::vector<pkcs11::TokenObject>& objects) const;

 private:
  std::filesystem::path lock_file_of(const std::string& name) const;

  pkcs11::Module module_;
  bool may_lock_;  // SoftHSM's never do: there, a login that was cut off has cost nothing
  pkcs11::TokenInfo info_;
  std::string identity_;
  std::vector<std::string> names_for_pins_;
  std::filesystem::path lock_directory_;
  std::optional<FileDescriptor> lock_, machine_lock_;
  std::unique_ptr<pkcs11::Session> session_;
};

}  // namespace fleetroot::station
