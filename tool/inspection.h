// Step 3 of a device: what the journal knows against what lies on the token. Nothing is guessed, and a token
// that somebody else began to fill is refused. Whether a device may have a new key on another token is the
// CA's to say.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "lib/base/clock.h"
#include "lib/x509/device_id.h"
#include "pkcs11/key_policy.h"
#include "pkcs11/objects.h"
#include "tool/device_check.h"
#include "tool/device_token.h"
#include "tool/journal.h"
#include "tool/provision_job.h"

namespace fleetroot::station {

enum class TokenState { fresh, resumable, provisioned };

struct Inspected {
  TokenState state;
  // What the journal has of the device on this token; of a fresh one, what it shall have.
  DeviceRecord record;
  // By which the device is made: the one that it was begun with.
  pkcs11::KeyPolicy policy;
};

// One token, once. One thread.
class Inspection {
 public:
  // All referred to, none owned. The token has a session.
  Inspection(const ProvisionJob& job, const DeviceId& device_id, const Trust& trust,
             std::vector<Certificate> written_chain, DeviceToken& token, Journal& journal, Time now);

  // Error: token_foreign_object, token_untrusted, device_has_certificate; certificate_rejected for one that
  // has expired, clock for one that is not valid yet; usage for a device that was begun with another policy
  // than the job asks for. None of them changes token or journal.
  Inspected run();

 private:
  Inspected known(DeviceRecord record);
  Inspected unknown();
  bool holds_anything_of(const DeviceRecord& record) const;
  void refuse_emptied_unless_reworked(const DeviceRecord& record) const;
  [[noreturn]] void refuse_replaced(const DeviceRecord& record) const;
  [[noreturn]] void refuse_old_key(const DeviceRecord& record) const;
  std::optional<pkcs11::KeyPolicy> policy_if_provisioned(
      const std::vector<pkcs11::TokenObject>& objects) const;
  std::optional<KeyAlgorithm> algorithm_of(const pkcs11::KeyId& id) const;
  void refuse_another_device(const DeviceRecord& holder) const;
  void refuse_another_policy(const DeviceRecord& record) const;
  void refuse_older_identity(const DeviceRecord& record) const;
  void refuse_foreign_objects(const std::vector<pkcs11::TokenObject>& objects, std::string_view whose) const;
  void refuse_foreign_chain(const std::vector<pkcs11::ObjectIdentity>& objects) const;
  pkcs11::KeyPair whole_pair(const pkcs11::KeySpec& spec) const;
  void refuse_unless_kept(const Certificate& certificate, const pkcs11::KeyName& name) const;
  void confirm_provisioned(const Inspected& device) const;

  const ProvisionJob& job_;
  const DeviceId& device_id_;
  const Trust& trust_;
  std::vector<Certificate> written_chain_;
  DeviceToken& token_;
  Journal& journal_;
  Time now_;
  pkcs11::KeyPolicy policy_;  // that the job asks for
};

}  // namespace fleetroot::station
