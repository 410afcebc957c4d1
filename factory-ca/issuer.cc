#include "factory-ca/issuer.h"

#include <fmt/format.h>

#include <algorithm>

#include "factory-ca/failures.h"
#include "factory-ca/issuing_key.h"
#include "factory-ca/later_life.h"
#include "factory-ca/stations.h"
#include "lib/x509/provisioning_statement.h"

namespace fleetroot::ca {
namespace {

std::string serial_of(const std::optional<CertificateRecord>& record) {
  return record ? record->serial : "";
}

// A reservation keeps its dates: whoever takes it over gets less than the profile gives, by its age. A
// hundredth is the most that anybody shall miss.
bool is_young(const CertificateRecord& reservation, Time now) {
  constexpr int kPartsOfALife = 100;
  return now - reservation.not_before < (reservation.not_after - reservation.not_before) / kPartsOfALife;
}

}  // namespace

Issuer::Issuer(Ledger& ledger, const Signer& signer, Certificate issuing_certificate,
               std::filesystem::path profiles, const Validity& station_validity, const Clock& clock,
               std::optional<OrderId> order)
    : ledger_(ledger),
      looking_(&ledger),
      signer_(signer),
      issuing_certificate_(std::move(issuing_certificate)),
      profiles_(std::move(profiles)),
      station_validity_(station_validity),
      clock_(clock),
      only_order_(std::move(order)),
      responder_({.certificate = issuing_certificate_, .key = signer.key}, *this) {}

// 1. Receive. The responder bounds the message, finds who signed it (2), and asks for the rest (3 to 9).
Task<Bytes> Issuer::answer(BytesView message, std::optional<OrderId> order, Bytes peer) {
  std::string label;
  if (order) label = order->text();
  co_return co_await responder_.answer(message, std::move(label), std::move(peer));
}

cmp::Sender Issuer::recognise(const Certificate& certificate) {
  PublicKey key = certificate.public_key();
  cmp::Sender sender = authenticate(key_identifier_of(key));
  // The key is the station. Its certificate may be the one before a renewal, whose answer was lost.
  if (sender.key == key && certificate.common_name() == sender.name) return sender;
  throw Error(ErrorCode::not_authorised,
              fmt::format("this is not the certificate of station {}", sender.name),
              "present the certificate that the factory CA gave the station");
}

// 2. Authenticate. The responder verifies the message's protection with the certificate that this returns,
// and with no other.
cmp::Sender Issuer::authenticate(BytesView sender_key_id) {
  std::optional<StationRecord> station;
  looking_->alone([&] { station = enrolled_station(*looking_, sender_key_id, clock_.now()); });
  return senders_.get(as_text(station->certificate), [&] {
    return cmp::Sender{.name = station->subject, .certificate = Certificate::from_der(station->certificate)};
  });
}

Task<Bytes> Issuer::issue(const Submission& submission) {
  ProvenRequest request = prove(submission);
  std::optional<Error> reused;
  try {
    co_return co_await run_steps(request);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::key_reused) throw;
    reused = error;
  }
  co_await ledger_.change([&] { raise_alarm(request, *reused); });
  throw Error(*reused);
}

// Two durable transactions, with the signature between them.
Task<Bytes> Issuer::run_steps(const ProvenRequest& request) {
  Authorisation authorisation;
  std::optional<LintedCertificate> linted;
  Time begun;
  co_await ledger_.change([&] {
    authorisation = authorise(request);
    if (authorisation.certificate) return;
    begun = ledger_.time_of_issue(clock_);
    linted = lint_bytes(build(request, authorisation, begun));
    reserve(request, authorisation, *linted);
  });
  if (authorisation.certificate) co_return *std::move(authorisation.certificate);
  std::string serial = linted->serial().hex();
  Bytes certificate = sign_bytes(*std::move(linted));
  Time now = std::max(clock_.now(), begun);
  bool is_revoked = false;
  co_await ledger_.change([&] {
    is_revoked = is_sender_revoked(request);
    if (is_revoked) {
      give_up(request, serial);
    } else {
      certificate = commit(request, authorisation, serial, certificate, now);
    }
  });
  if (is_revoked) throw station_is_revoked(request.sender);
  co_return certificate;
}

// 3. Parse and prove: sound, signed with its own key, for one device, on one order.
Issuer::ProvenRequest Issuer::prove(const Submission& submission) const {
  submission.request.refuse_unless_sound();
  std::string json = submission.request.statement_json().value_or("");
  std::optional<OrderId> order = submission.order ? submission.order : only_order_;
  if (only_order_ && *order != *only_order_) {
    throw Error(ErrorCode::bad_request, fmt::format("this CA issues for order {} only", only_order_->text()),
                "submit it for that order, or ask whoever runs the CA where others are answered");
  }
  if (!json.empty()) {
    ProvisioningStatement statement = ProvisioningStatement::parse(json);
    if (order && *order != statement.order) {
      throw Error(ErrorCode::bad_request,
                  fmt::format("the request is for order {}, and came in for {}", statement.order.text(),
                              order->text()),
                  "submit it for the order that it was made for");
    }
    if (statement.station.text() != submission.sender) {
      throw Error(ErrorCode::bad_request,
                  fmt::format("the request says that station {} made it, and {} sent it",
                              statement.station.text(), submission.sender),
                  "provision the device at the station that sends the request");
    }
    order = statement.order;
  }
  if (!order) {
    throw Error(
        ErrorCode::bad_request, "the request names no order",
        "name it in the address's path (.../p/ORDER by CMP, .../est/ORDER by EST), or start the CA for "
        "one order: --order ORDER");
  }
  return {.device = DeviceId::parse(submission.request.common_name()),
          .key = submission.request.public_key(),
          .order = *order,
          .sender = submission.sender,
          .statement = json,
          .made = submission.made,
          .sender_key_id = submission.sender_key_id};
}

// 4. Authorise: the CA's own certificate, the station and its orders, the duplicate rules, then the order.
// From here to step 7 under the ledger's write lock: nobody else decides about the same device, key or order
// meanwhile.
Issuer::Authorisation Issuer::authorise(const ProvenRequest& request) {
  refuse_if_revoked(ledger_, issuing_certificate_);
  if (is_sender_revoked(request)) throw station_is_revoked(request.sender);
  if (!ledger_.station_orders.allows(request.sender, request.order)) {
    throw Error(ErrorCode::not_authorised,
                fmt::format("station {} may not work on order {}", request.sender, request.order.text()),
                "use another station, or have this one bound to the order (fleetroot-ca station bind)");
  }
  Authorisation authorisation = find_duplicate(request);
  if (authorisation.certificate) return authorisation;
  // A station gives the key up for the codes below, but not for bad_request: where this key has a
  // reservation, another process may be signing.
  bool may_be_signed =
      authorisation.reservation && authorisation.reservation->public_key == request.key.fingerprint();
  // What was checked so far, and what is below, holds for the order that the request names.
  std::optional<OrderId> place = authorisation.order_of_place();
  if (place && *place != request.order) {
    throw Error(may_be_signed ? ErrorCode::bad_request : ErrorCode::not_on_order,
                fmt::format("device {} belongs to order {}, not to {}", request.device.text(), place->text(),
                            request.order.text()),
                "a device keeps its place: provision it on its own order");
  }
  WorkOrder order = ledger_.orders.get(request.order);
  authorisation.device = ledger_.orders.device(order, request.device);
  if (!authorisation.device) {
    throw Error(ErrorCode::not_on_order,
                fmt::format("device {} is not on order {}{}", request.device.text(), order.id.text(),
                            order.pattern ? fmt::format(" (its pattern is {})", order.pattern->text()) : ""),
                "scan the label again, or ask for an order that this device is on");
  }
  authorisation.profile = Profile::read(profiles_, order.profile);
  if (!authorisation.profile->allows(request.key.algorithm())) {
    throw Error(may_be_signed ? ErrorCode::bad_request : ErrorCode::algorithm_not_allowed,
                fmt::format("the profile {} does not allow {} keys", order.profile.text(),
                            name_of(request.key.algorithm())),
                "use another key algorithm, or an order with another profile");
  }
  // A reservation and a rework have their place on the order, whether that is closed or full by now.
  if (place) return authorisation;
  if (!order.is_open) {
    throw Error(ErrorCode::order_closed, fmt::format("order {} is closed", order.id.text()),
                "ask for another order; what was issued on this one stays valid");
  }
  if (order.used >= order.quantity) {
    throw Error(
        ErrorCode::order_full,
        fmt::format("order {} is full: all {} of its certificates are used", order.id.text(), order.quantity),
        "ask for another order");
  }
  return authorisation;
}

std::optional<OrderId> Issuer::Authorisation::order_of_place() const {
  if (predecessor) return OrderId::parse(predecessor->order);
  if (reservation) return OrderId::parse(reservation->order);
  return std::nullopt;
}

// Same device and key: what it got before. Same device, another key: only if a rework is authorised. Same
// key, another device: a cloned token, also where the other one's reservation was given up. A scrapped
// device, and a key whose certificate was revoked: never. What was begun under a rework takes one to go on.
Issuer::Authorisation Issuer::find_duplicate(const ProvenRequest& request) {
  Authorisation authorisation;
  Standing standing = ledger_.certificates.standing(SubjectKind::device, request.device.text());
  if (standing.issued && standing.issued->public_key == request.key.fingerprint()) {
    authorisation.certificate = std::move(standing.issued->certificate);
    return authorisation;
  }
  refuse_if_scrapped(ledger_, request.device);
  bool is_begun = standing.reserved && standing.reserved->public_key == request.key.fingerprint();
  if (!is_begun) refuse_if_key_is_known(request);
  bool is_begun_first = is_begun && standing.reserved->rework == 0;
  if (standing.predecessor() || (standing.reserved && !is_begun_first)) {
    authorisation.rework = rework_of(request, standing);
  }
  authorisation.predecessor = standing.predecessor();
  authorisation.reservation = std::move(standing.reserved);
  return authorisation;
}

void Issuer::refuse_if_key_is_known(const ProvenRequest& request) {
  std::optional<CertificateRecord> known = ledger_.certificates.with_public_key(request.key.fingerprint());
  if (!known) return;
  bool is_own = known->kind == SubjectKind::device && known->subject == request.device.text();
  // Nobody has ever seen a certificate for it.
  if (is_own && known->state == CertificateState::abandoned) return;
  if (is_own) {
    throw Error(ErrorCode::device_revoked,
                fmt::format("the certificate of device {} for this key was revoked at {} ({})",
                            request.device.text(), known->revoked_at, name_of(known->revocation_reason)),
                "hold this device and its token: a revoked key is never certified again");
  }
  throw Error(ErrorCode::key_reused,
              fmt::format("the key of device {} belongs to {} {}", request.device.text(),
                          name_of(known->kind), known->subject),
              "hold both devices: one of the tokens is a copy of the other");
}

// Whoever has a request from before, as one that was refused then and whose key is gone, cannot spend the
// rework on it.
void Issuer::refuse_if_made_before(const ProvenRequest& request, const Rework& rework) {
  if (!request.made) {
    throw Error(ErrorCode::device_has_certificate,
                fmt::format("the request for device {} does not say when it was made, and a rework is for "
                            "requests that were made after it was authorised",
                            request.device.text()),
                "give the CMP message a messageTime (RFC 9810 section 5.1.1), in UTC and whole seconds");
  }
  if (*request.made + kSmallSkew >= time_on_record(rework.authorised_at)) return;
  throw Error(ErrorCode::device_has_certificate,
              fmt::format("the request for device {} was made at {}, before its rework was authorised at {}",
                          request.device.text(), format_time(*request.made), rework.authorised_at),
              "ask again with a new request; where that is refused too, set the clocks of station and CA "
              "right, withdraw the rework and authorise it again");
}

Rework Issuer::rework_of(const ProvenRequest& request, const Standing& standing) {
  bool is_begun = standing.reserved && standing.reserved->public_key == request.key.fingerprint();
  if (std::optional<Rework> open = ledger_.reworks.open(request.device.text())) {
    if (!is_begun || standing.reserved->rework != open->id) refuse_if_made_before(request, *open);
    return *std::move(open);
  }
  if (is_begun && !standing.issued) {
    throw Error(
        ErrorCode::device_has_certificate,
        fmt::format("a certificate of device {} for this key was begun under a rework, which was "
                    "withdrawn, and is not finished",
                    request.device.text()),
        "ask for another rework (fleetroot-ca rework authorize), for this token or for the one before");
  }
  if (standing.issued || standing.reserved) {
    const CertificateRecord& held = standing.issued ? *standing.issued : *standing.reserved;
    throw Error(
        ErrorCode::device_has_certificate,
        fmt::format("device {} has a certificate for another key, from order {}{}", request.device.text(),
                    held.order, standing.issued ? "" : ", begun and not finished"),
        "scan the label again; if the device's token was replaced, ask for a rework "
        "(fleetroot-ca rework authorize)");
  }
  throw Error(ErrorCode::device_revoked,
              fmt::format("the certificate of device {} was revoked at {} ({})", request.device.text(),
                          standing.revoked->revoked_at, name_of(standing.revoked->revocation_reason)),
              "if the device shall live on with a new key, ask for a rework (fleetroot-ca rework authorize)");
}

// 5. Build: from the profile alone, with the request's public key and the ID that the order allows. A
// reservation that nobody finished is taken over where its bytes are the ones that we would write today, so
// that two processes never sign two certificates for one device. Where they are not (another profile, another
// issuing certificate, a changed ledger), where it is old, and under another rework, step 7 gives it up:
// nobody has ever seen a certificate for it.
Issuer::Draft Issuer::build(const ProvenRequest& request, const Authorisation& authorisation,
                            Time now) const {
  auto draft = [&](Time not_before, const SerialNumber& serial) {
    CertificatePlan plan = authorisation.profile->plan(*authorisation.device, request.key, not_before);
    Bytes tbs = encode_tbs(plan, signer_.facts, serial);
    return Draft{.plan = std::move(plan), .tbs = std::move(tbs)};
  };
  const std::optional<CertificateRecord>& reservation = authorisation.reservation;
  if (reservation && is_young(*reservation, now)) {
    Draft same = draft(reservation->not_before, SerialNumber::from_hex(reservation->serial));
    if (same.tbs == reservation->tbs && reservation->rework == authorisation.rework_id()) return same;
  }
  return draft(now, SerialNumber::random());
}

// 6. Lint: the exact bytes.
LintedCertificate Issuer::lint_bytes(Draft draft) const {
  return lint(std::move(draft.tbs), draft.plan, signer_.facts);
}

// 7. Reserve, durably: serial number and bytes, and the place on the order.
void Issuer::reserve(const ProvenRequest& request, const Authorisation& authorisation,
                     const LintedCertificate& linted) {
  const std::optional<CertificateRecord>& reservation = authorisation.reservation;
  if (reservation && reservation->serial == linted.serial().hex()) return;
  if (reservation) ledger_.certificates.abandon(reservation->serial);
  if (!authorisation.order_of_place()) ledger_.orders.take_place(request.order);
  const std::optional<CertificateRecord>& predecessor = authorisation.predecessor;
  ledger_.certificates.reserve({.serial = linted.serial().hex(),
                                .kind = SubjectKind::device,
                                .subject = request.device.text(),
                                .order = request.order.text(),
                                .sender = request.sender,
                                .profile = authorisation.profile->name().text(),
                                .profile_digest = authorisation.profile->digest(),
                                .issuer_key_id = to_hex(signer_.facts.key_identifier),
                                .public_key = request.key.fingerprint(),
                                .key_algorithm = std::string(name_of(request.key.algorithm())),
                                .key_id = to_hex(key_identifier_of(request.key)),
                                .not_before = linted.not_before(),
                                .not_after = linted.not_after(),
                                .tbs = linted.tbs(),
                                .certificate = {},
                                .statement = request.statement,
                                .generation = predecessor ? predecessor->generation + 1 : 1,
                                .supersedes = serial_of(predecessor),
                                .rework = authorisation.rework_id()});
}

// 8. Sign those bytes in the token, once.
Bytes Issuer::sign_bytes(LintedCertificate&& linted) const {
  return sign(std::move(linted), signer_.key, signer_.public_key);
}

// 9. Commit certificate and log entry; only what the ledger holds then, durably, is handed out.
Bytes Issuer::commit(const ProvenRequest& request, const Authorisation& authorisation,
                     const std::string& serial, const Bytes& certificate, Time now) {
  refuse_if_revoked(ledger_, issuing_certificate_);
  if (authorisation.rework) supersede(authorisation, serial, now);
  if (authorisation.reservation) ledger_.certificates.take_over(serial, request.sender, request.statement);
  if (ledger_.certificates.commit(serial, certificate, now)) {
    nlohmann::json entry{{"device_id", request.device.text()},
                         {"order", request.order.text()},
                         {"sender", request.sender},
                         {"serial", serial},
                         {"supersedes", serial_of(authorisation.predecessor)},
                         {"public_key", request.key.fingerprint()},
                         {"certificate", sha256_hex(certificate)}};
    if (authorisation.rework) entry["rework"] = authorisation.rework_id();
    ledger_.log.append("device.certified", now, std::move(entry));
    return certificate;
  }
  // Another process signed the same bytes and was first. Its certificate is the one.
  std::optional<CertificateRecord> winner = ledger_.certificates.with_serial(serial);
  if (!winner || winner->state != CertificateState::issued) {
    throw Error(ErrorCode::busy,
                fmt::format("device {} is being issued for elsewhere", request.device.text()),
                "run the same command again");
  }
  return winner->certificate;
}

// A rework is used up, and what it replaces is revoked, by the transaction that commits the new certificate:
// whoever looks sees the one or the other live, never both.
void Issuer::supersede(const Authorisation& authorisation, const std::string& serial, Time now) {
  std::optional<CertificateRecord> reserved = ledger_.certificates.with_serial(serial);
  // Another process was first, with the same bytes, or gave the reservation up.
  if (!reserved || reserved->state != CertificateState::reserved) return;
  if (!ledger_.reworks.use(authorisation.rework_id(), serial, now)) {
    throw Error(ErrorCode::busy,
                fmt::format("the rework of device {} was withdrawn, or used by another token, just now",
                            authorisation.rework->device_id),
                "run the same command again; fleetroot-ca rework list shows what became of it");
  }
  Standing standing = ledger_.certificates.standing(SubjectKind::device, authorisation.rework->device_id);
  if (standing.issued) revoke_and_log(ledger_, *standing.issued, RevocationReason::superseded, now);
}

// It was not when the message came (2), and may be by now.
bool Issuer::is_sender_revoked(const ProvenRequest& request) {
  return !request.sender_key_id.empty() && !is_in_good_standing(ledger_, request.sender_key_id);
}

// What was reserved for who was revoked while the token signed; unless another process was first.
void Issuer::give_up(const ProvenRequest& request, const std::string& serial) {
  Standing standing = ledger_.certificates.standing(SubjectKind::device, request.device.text());
  if (standing.reserved && standing.reserved->serial == serial) give_up_reservation(ledger_, standing);
}

// What a p10cr asks for; `order` as the transport names it, or empty.
Task<cmp::Issued> Issuer::issue(const cmp::Sender& sender, const CertificateRequest& request,
                                std::optional<Time> made, std::string_view order) {
  Submission submission{.sender = sender.name,
                        .request = request,
                        .order = {},
                        .made = made,
                        .sender_key_id = key_identifier_of(sender.key)};
  if (!order.empty()) submission.order = OrderId::parse(order);
  cmp::Issued issued;
  issued.certificate = co_await issue(submission);
  issued.chain.push_back(issuing_certificate_);
  co_return issued;
}

// What a kur asks for, or an EST client in its own name. The certificate that it is to replace may be the one
// before, whose successor was lost.
cmp::Issued Issuer::renew(const cmp::Sender& sender, const PublicKey& key,
                          const std::optional<cmp::CertificateName>& replaces) {
  if (replaces && !is_station_certificate(*replaces, sender.name)) {
    throw Error(ErrorCode::bad_request,
                fmt::format("the certificate {} to be renewed is not one of station {}",
                            replaces->serial.hex(), sender.name),
                "renew the certificate that signs the request");
  }
  cmp::Issued issued{.certificate = {}, .chain = {issuing_certificate_}};
  ledger_.alone([&] {
    issued.certificate = renew_station(ledger_, signer_, sender.name, key, station_validity_, clock_).der();
  });
  return issued;
}

bool Issuer::is_station_certificate(const cmp::CertificateName& name, const std::string& station) {
  std::optional<CertificateRecord> record;
  looking_->alone([&] { record = looking_->certificates.with_serial(name.serial.hex()); });
  return record && name.issuer == signer_.facts.name && record->kind == SubjectKind::station &&
         record->subject == station;
}

// After step 9, when the station has written the certificate into the device and proven it.
Task<cmp::Confirmed> Issuer::confirm(const cmp::Sender& sender, const Certificate& certificate,
                                     bool accepted) {
  std::string serial = certificate.serial().hex();
  co_await ledger_.change([&] {
    Time now = clock_.now();
    std::optional<CertificateRecord> record = ledger_.certificates.with_serial(serial);
    if (!record) return;
    ledger_.certificates.confirm(serial, accepted ? Confirmation::accepted : Confirmation::rejected, now);
    ledger_.log.append(fmt::format("{}.{}", name_of(record->kind), accepted ? "confirmed" : "rejected"), now,
                       {{"serial", serial}, {"sender", sender.name}});
  });
  co_return cmp::Confirmed{};
}

// A station may end what is its own: its certificate, and those of devices that it asked for.
void Issuer::revoke(const cmp::Sender& sender, const cmp::RevocationRequest& request) {
  ledger_.alone([&] {
    const cmp::CertificateName& named = request.certificate;
    std::optional<CertificateRecord> record = ledger_.certificates.with_serial(named.serial.hex());
    bool is_ours = record && named.issuer == signer_.facts.name;
    bool is_own = is_ours && (record->kind == SubjectKind::station
                                  ? record->subject == sender.name
                                  : record->kind == SubjectKind::device && record->sender == sender.name);
    if (!is_own) {
      throw Error(
          ErrorCode::not_authorised,
          fmt::format("station {} may not revoke the certificate {}", sender.name, named.serial.hex()),
          "ask the PKI engineer: fleetroot-ca cert revoke");
    }
    revoke_certificate(ledger_, named.serial, request.reason, clock_, Commitment::for_real);
  });
}

void Issuer::failed(const Error& error) {
  tell_failure(error);
}

void Issuer::raise_alarm(const ProvenRequest& request, const Error& error) {
  ledger_.log.append("alarm.key_reused", clock_.now(),
                     {{"device_id", request.device.text()},
                      {"order", request.order.text()},
                      {"sender", request.sender},
                      {"public_key", request.key.fingerprint()},
                      {"message", error.message()}});
}

}  // namespace fleetroot::ca
