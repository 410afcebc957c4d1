#include "tool/inspection.h"

#include <fmt/format.h>

#include <algorithm>

#include "tool/own_objects.h"

namespace fleetroot::station {

using pkcs11::KeyPair;
using pkcs11::KeyPolicy;
using pkcs11::KeySpec;
using pkcs11::ObjectClass;
using pkcs11::TokenObject;

namespace {

KeyPolicy policy_of(const DeviceRecord& record) {
  return KeyPolicy::preset(record.preset, parse_key_algorithm(record.algorithm));
}

}  // namespace

Inspection::Inspection(const ProvisionJob& job, const DeviceId& device_id, const Trust& trust,
                       std::vector<Certificate> written_chain, DeviceToken& token, Journal& journal, Time now)
    : job_(job),
      device_id_(device_id),
      trust_(trust),
      written_chain_(std::move(written_chain)),
      token_(token),
      journal_(journal),
      now_(now),
      policy_(KeyPolicy::preset(job.preset, job.algorithm)) {}

Inspected Inspection::run() {
  std::optional<DeviceRecord> holder = journal_.device_on_token(token_.identity());
  if (!holder) return unknown();
  bool is_begun = holder->state == DeviceState::planned;
  bool is_of_this_device = holder->device_id == device_id_.text();
  if (is_begun && is_of_this_device) return known(*std::move(holder));
  if (!holds_anything_of(*holder)) {
    if (is_of_this_device) refuse_emptied_unless_reworked(*holder);
    return unknown();
  }
  if (holder->state == DeviceState::replaced) refuse_replaced(*holder);
  if (job_.rework && is_of_this_device) refuse_old_key(*holder);
  return known(*std::move(holder));
}

// What came before the device was begun was under other names.
bool Inspection::holds_anything_of(const DeviceRecord& record) const {
  std::vector<TokenObject> objects = pkcs11::inventory(token_.session());
  KeyPolicy policy = policy_of(record);
  if (record.state == DeviceState::planned)
    return !left_by_attempt(objects, record.inventory, policy, written_chain_).empty();
  return std::ranges::any_of(objects,
                             [&](const TokenObject& object) { return has_name_of(policy, object.identity); });
}

// A device that was finished here goes on with a new key only where somebody says that it shall.
void Inspection::refuse_emptied_unless_reworked(const DeviceRecord& record) const {
  if (job_.rework || record.state == DeviceState::replaced) return;
  throw Error(ErrorCode::device_has_certificate,
              fmt::format("device {} was provisioned, and nothing of that is left on the token {}",
                          record.device_id, token_.info().describe()),
              "hold this device; once its rework is authorised (fleetroot-ca rework authorize), run "
              "provision with --rework");
}

// What it has of a device that was finished on another one.
void Inspection::refuse_replaced(const DeviceRecord& record) const {
  bool was_begun_only = record.certificate.empty();
  throw Error(ErrorCode::token_foreign_object,
              fmt::format("the token {} holds what device {} {}", token_.info().describe(), record.device_id,
                          was_begun_only ? "was begun with, before it was finished on another token"
                                         : "had before its rework"),
              was_begun_only
                  ? "look for two devices with one label: nothing is ever overwritten, and this one takes "
                    "a label of its own and an empty token"
                  : "hold this device: nothing is ever overwritten; use an empty token");
}

void Inspection::refuse_old_key(const DeviceRecord& record) const {
  throw Error(
      ErrorCode::token_foreign_object,
      fmt::format("the token {} holds what device {} was provisioned with, and a rework needs a new key",
                  token_.info().describe(), record.device_id),
      "if its rework is done, the same command without --rework says so; otherwise empty the token");
}

// A token that this station began or finished.
Inspected Inspection::known(DeviceRecord record) {
  refuse_another_device(record);
  refuse_another_policy(record);
  KeyPolicy policy = policy_of(record);
  bool is_begun = record.state == DeviceState::planned;
  Inspected device{.state = is_begun ? TokenState::resumable : TokenState::provisioned,
                   .record = std::move(record),
                   .policy = std::move(policy)};
  if (is_begun) {
    refuse_foreign_chain(device.record.inventory);
  } else {
    confirm_provisioned(device);
  }
  return device;
}

// A token that this station has not met, or whose life begins anew.
Inspected Inspection::unknown() {
  std::vector<TokenObject> objects = pkcs11::inventory(token_.session());
  Inspected device{.state = TokenState::fresh,
                   .record = {.device_id = device_id_.text(),
                              .token = token_.identity(),
                              .order = job_.order.text(),
                              .state = DeviceState::planned,
                              .preset = job_.preset,
                              .algorithm = std::string(name_of(job_.algorithm)),
                              .inventory = {},
                              .requested_key = {},
                              .unanswered = {},
                              .certificate = {},
                              .chain = {}},
                   .policy = policy_};
  for (const TokenObject& object : objects) device.record.inventory.push_back(object.identity);
  std::optional<KeyPolicy> somebodys = policy_if_provisioned(objects);
  if (!somebodys) {
    refuse_foreign_objects(objects, "that this station did not make");
    refuse_foreign_chain(device.record.inventory);
    return device;
  }
  device.state = TokenState::provisioned;
  device.policy = *std::move(somebodys);
  device.record.state = DeviceState::provisioned;
  device.record.algorithm = name_of(device.policy.identity().algorithm);
  device.record.certificate =
      pkcs11::read_certificates(token_.session(), device.policy.identity().certificate->id).front();
  refuse_another_policy(device.record);
  refuse_older_identity(device.record);
  journal_.finish(device.record, now_);
  return device;
}

void Inspection::refuse_another_device(const DeviceRecord& holder) const {
  if (holder.device_id == device_id_.text()) return;
  bool is_done = holder.state == DeviceState::provisioned;
  throw Error(ErrorCode::token_foreign_object,
              fmt::format("the token {} belongs to device {}, which is {}", token_.info().describe(),
                          holder.device_id, is_done ? "provisioned" : "begun and not finished"),
              is_done ? "scan the label of the device that this token is in; if that was scrapped, empty the "
                        "token for another device"
                      : "scan that device once more: it is finished, or refused and the token free again");
}

// A device keeps the policy that it was begun with; who asks for another must not hear that all is well.
void Inspection::refuse_another_policy(const DeviceRecord& record) const {
  bool fits = (!job_.wants_preset || record.preset == job_.preset) &&
              (!job_.wants_algorithm || record.algorithm == name_of(job_.algorithm));
  if (fits) return;
  bool is_done = record.state == DeviceState::provisioned;
  throw Error(ErrorCode::usage,
              fmt::format("device {} was {} with the preset {} and the algorithm {}", record.device_id,
                          is_done ? "provisioned" : "begun", record.preset, record.algorithm),
              is_done ? "leave --preset and --algorithm out; another policy needs an empty token"
                      : "leave --preset and --algorithm out to go on with these; where the CA refuses them, "
                        "that frees the token for others");
}

// The journal is another station's, or lost: a token that passes every check for this device is done all the
// same, with the algorithm that its key has.
std::optional<KeyPolicy> Inspection::policy_if_provisioned(const std::vector<TokenObject>& objects) const {
  const KeySpec& wanted = policy_.identity();
  auto is_our_key = [&](const TokenObject& object) {
    return object.identity.object_class == ObjectClass::private_key &&
           object.identity.id_hex == wanted.key.id.hex();
  };
  if (std::count_if(objects.begin(), objects.end(), is_our_key) != 1) return std::nullopt;
  KeyPolicy policy = KeyPolicy::preset(job_.preset, algorithm_of(wanted.key.id).value_or(wanted.algorithm));
  bool is_done = all_passed(verify_device(token_.session(), policy, device_id_, trust_, now_));
  return is_done ? std::optional(std::move(policy)) : std::nullopt;
}

// Nothing of what is not one pair.
std::optional<KeyAlgorithm> Inspection::algorithm_of(const pkcs11::KeyId& id) const {
  try {
    std::optional<KeyPair> pair = pkcs11::find_key_pair(token_.session(), id);
    if (pair) return pair->public_key.algorithm();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::token_untrusted) throw;
  }
  return std::nullopt;
}

// Of two tokens that both pass for this device, the one with the older certificate was replaced.
void Inspection::refuse_older_identity(const DeviceRecord& record) const {
  std::optional<DeviceRecord> known = journal_.device(device_id_);
  if (!known || known->state != DeviceState::provisioned) return;
  if (Certificate::from_der(known->certificate).not_before() <
      Certificate::from_der(record.certificate).not_before()) {
    return;
  }
  throw Error(
      ErrorCode::device_has_certificate,
      fmt::format("device {} has its identity on another token ({})", device_id_.text(), known->token),
      "scan the label again; if this token was replaced, it is out of use: hold it");
}

void Inspection::refuse_foreign_objects(const std::vector<TokenObject>& objects,
                                        std::string_view whose) const {
  auto collides = [&](const TokenObject& object) { return has_name_of(policy_, object.identity); };
  auto found = std::find_if(objects.begin(), objects.end(), collides);
  if (found == objects.end()) return;
  const pkcs11::ObjectIdentity& object = found->identity;
  throw Error(
      ErrorCode::token_foreign_object,
      fmt::format("the token {} already holds an object ({}) with the ID \"{}\" and the label \"{}\" {}",
                  token_.info().describe(), name_of(object.object_class), object.id_hex, object.label, whose),
      "hold this device: nothing is ever overwritten; use an empty token");
}

// The same certificate may have been there before; anything else where it goes would be lost.
void Inspection::refuse_foreign_chain(const std::vector<pkcs11::ObjectIdentity>& objects) const {
  for (const Certificate& certificate : written_chain_) {
    pkcs11::KeyName name = chain_name(certificate);
    for (const pkcs11::ObjectIdentity& object : objects) {
      if (object.id_hex != name.id.hex() || object.digest == certificate.fingerprint()) continue;
      throw Error(
          ErrorCode::token_foreign_object,
          fmt::format("the token {} already holds an object ({}) where the issuing CA's certificate "
                      "goes, with the ID \"{}\" and the label \"{}\"",
                      token_.info().describe(), name_of(object.object_class), object.id_hex, object.label),
          "hold this device: nothing is ever overwritten; use an empty token, or leave the chain out "
          "(device.write_chain in station.toml)");
    }
  }
}

KeyPair Inspection::whole_pair(const KeySpec& spec) const {
  std::optional<KeyPair> pair = token_.usable_pair(spec);
  if (pair) return *std::move(pair);
  throw Error(
      ErrorCode::token_untrusted,
      fmt::format("device {} was provisioned, but its key with the ID {} is no longer whole on the token",
                  device_id_.text(), spec.key.id.hex()),
      "hold this device, and run verify to see what is wrong");
}

void Inspection::refuse_unless_kept(const Certificate& certificate, const pkcs11::KeyName& name) const {
  if (token_.holds_alone(certificate, name)) return;
  throw Error(
      ErrorCode::token_untrusted,
      fmt::format("device {} was provisioned, but {} {} with the ID {}", device_id_.text(),
                  certificate.subject(), fate_of(certificate, token_.session(), name.id), name.id.hex()),
      "hold this device, and run verify to see what is wrong");
}

void Inspection::confirm_provisioned(const Inspected& device) const {
  std::vector<KeyPair> pairs;
  for (const KeySpec& spec : device.policy.specs) pairs.push_back(whole_pair(spec));
  Certificate certificate = Certificate::from_der(device.record.certificate);
  refuse_unless_kept(certificate, *device.policy.identity().certificate);
  for (const Certificate& issuing : device.record.chain) refuse_unless_kept(issuing, chain_name(issuing));
  if (!(certificate.public_key() == pairs.front().public_key)) {
    throw Error(ErrorCode::token_untrusted,
                fmt::format("device {} has another key than it was provisioned with", device_id_.text()),
                "hold this device: its token was changed after it was provisioned");
  }
  refuse_if_not_valid_yet(certificate, now_);
  if (certificate.not_after() < now_) {
    throw Error(ErrorCode::certificate_rejected,
                fmt::format("device {} was provisioned, and its certificate expired at {}", device_id_.text(),
                            format_time(certificate.not_after())),
                "it takes a new key to get another: fleetroot-ca rework authorize, then empty the token and "
                "run provision with --rework");
  }
}

}  // namespace fleetroot::station
