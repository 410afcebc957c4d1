// One device: ten steps, in order (ARCHITECTURE.md).
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/files.h"
#include "lib/base/names.h"
#include "lib/cmp/client.h"
#include "pkcs11/key_policy.h"
#include "pkcs11/pin.h"
#include "pkcs11/uri.h"
#include "tool/companions.h"
#include "tool/device_check.h"
#include "tool/device_token.h"
#include "tool/home.h"
#include "tool/journal.h"
#include "tool/media_queue.h"
#include "tool/reporter.h"
#include "tool/watchdog.h"

namespace fleetroot::station {

// What the command line, or a line of a pipe, asks for.
struct ProvisionJob {
  std::string scan;
  OrderId order;
  std::string bay;
  pkcs11::Uri token;
  std::string module_args;
  pkcs11::Pin pin;
  std::string preset;
  KeyAlgorithm algorithm;
  // Asked for, and not only what the station's settings say for new devices.
  bool wants_preset = false, wants_algorithm = false;
  bool placeholder = false;
  // Try the PIN even if it has been wrong before.
  bool retry_pin = false;
  // The token was initialised anew: what the journal knows of it is history.
  bool rework = false;
  std::string ca;
};

// queued: nothing is wrong, and the device has no identity yet; the same job again once the answer is here.
enum class Outcome { provisioned, already_provisioned, queued };

// One attempt for one device. run() once; when it throws, what it says is the truth about the device, and the
// same job again is the right thing to do wherever the code says retry. One thread.
class Provisioning {
 public:
  // All referred to, none owned; `companions` are for the job's CA and order.
  Provisioning(const Home& home, const Settings& settings, ProvisionJob job, Companions& companions,
               const Clock& clock, Reporter& reporter);
  ~Provisioning();

  Outcome run();
  // "certificate 5e01… on token dev-1 (serial …)", for the last line that a person reads.
  std::string summary() const;

 private:
  enum class Finding { fresh, resumable, provisioned };

  void identify();                               // 1
  void open_token();                             // 2
  Finding inspect();                             // 3
  void plan();                                   // 4
  void generate();                               // 5
  CertificateRequest request();                  // 6
  void submit(const CertificateRequest&);        // 7, with 8 and 9 before it confirms
  bool exchange(const CertificateRequest&);      // 7 to 9 by media; false while there is no answer
  void check(const cmp::Enrolled& answer);       // 8
  void write_back(const cmp::Enrolled& answer);  // 9
  void record();                                 // 10

  template <typename Step>
  auto step(int number, std::string_view name, const Step& body);
  std::optional<FileDescriptor> turn_with_other_bays() const;
  bool is_provisioned_by_somebody(const std::vector<pkcs11::TokenObject>& objects) const;
  void refuse_another_policy() const;
  void refuse_older_identity(const std::optional<DeviceRecord>& known) const;
  void refuse_foreign_objects(const std::vector<pkcs11::TokenObject>& objects, std::string_view why) const;
  void confirm_provisioned() const;
  void sweep() const;
  void undo() noexcept;
  std::optional<cmp::Enrolled> carried_answer(const CertificateRequest&);
  const pkcs11::KeyPair& identity_pair() const { return pairs_.front(); }

  const Home& home_;
  const Settings& settings_;
  ProvisionJob job_;
  Companions& companions_;
  Trust trust_;
  const Clock& clock_;
  Reporter& reporter_;
  pkcs11::KeyPolicy policy_;
  Journal journal_;
  // Where the way to the CA is a medium.
  std::optional<MediaQueue> media_;

  std::optional<DeviceId> device_id_;
  std::unique_ptr<DeviceToken> token_;
  DeviceRecord record_;
  // In the order of the policy's specs; the first is the identity.
  std::vector<pkcs11::KeyPair> pairs_;
  bool resumes_ = false;
  bool has_answer_ = false;
  Watchdog watchdog_;
};

}  // namespace fleetroot::station
