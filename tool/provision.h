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
#include "pkcs11/key_policy.h"
#include "pkcs11/pin.h"
#include "pkcs11/uri.h"
#include "tool/companions.h"
#include "tool/device_token.h"
#include "tool/home.h"
#include "tool/inspection.h"
#include "tool/journal.h"
#include "tool/media_client.h"
#include "tool/provision_job.h"
#include "tool/reporter.h"
#include "tool/watchdog.h"

namespace fleetroot::station {

// queued: nothing is wrong, and the device has no identity yet; the same job again once the answer is here.
enum class Outcome { provisioned, already_provisioned, queued };

// One attempt for one device. run() once; when it throws, what it says is the truth about the device, and the
// same job again is the right thing to do wherever the code says retry. One thread. Where the module hangs,
// the process ends instead; when this has died, it must end by _exit.
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
  void identify();                               // 1
  void open_token();                             // 2
  TokenState inspect();                          // 3, by Inspection
  void plan();                                   // 4
  void generate();                               // 5
  CertificateRequest request();                  // 6
  bool submit(const CertificateRequest&);        // 7, with 8 and 9 before it confirms
  void check(const cmp::Enrolled& answer);       // 8
  void write_back(const cmp::Enrolled& answer);  // 9
  void record();                                 // 10

  template <typename Step>
  auto step(int number, std::string_view name, const Step& body);
  std::vector<Certificate> written_chain() const;
  std::optional<FileDescriptor> turn_with_other_bays();
  std::vector<pkcs11::TokenObject> left_by_attempt() const;
  void refuse_if_requested_key_is_broken(const std::optional<pkcs11::KeyPair>& found);
  void forget_requested_key();
  void sweep() const;
  void put_placeholder();
  void undo(const Error& refusal) noexcept;
  std::optional<std::string> way_out_of_others(ErrorCode refusal);
  void submit_at_once(const CertificateRequest&, const cmp::Accept&);
  bool submit_by_media(const CertificateRequest&, const cmp::Accept&);
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
  std::optional<MediaClient> media_;

  std::optional<DeviceId> device_id_;
  std::unique_ptr<DeviceToken> token_;
  DeviceRecord record_;
  // In the order of the policy's specs; the first is the identity.
  std::vector<pkcs11::KeyPair> pairs_;
  // An earlier run made the plan, and perhaps the key.
  bool resumes_ = false;
  // The CA may have a certificate for the key, whether or not it has come.
  bool may_be_certified_ = false;
  Watchdog watchdog_;
};

}  // namespace fleetroot::station
