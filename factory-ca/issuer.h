// One request: nine steps, in order (docs/issuance-cycle.md tells them at length).
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "factory-ca/authority.h"
#include "factory-ca/ledger.h"
#include "factory-ca/lint.h"
#include "factory-ca/profile.h"
#include "lib/base/memo.h"
#include "lib/cmp/responder.h"

namespace fleetroot::ca {

// A request with what is known about it from elsewhere.
struct Submission {
  std::string sender;  // the station's name, or "operator"
  const CertificateRequest& request;
  // The order that the transport or the command line names; must agree with the request's statement.
  std::optional<OrderId> order;
  // When the request was made, as the message says that the station signed; what does not say it uses no
  // rework.
  std::optional<Time> made{};
  // Of the sender, where that is a station: it must not be revoked by the time that its certificate is there.
  Bytes sender_key_id{};
};

// One issuing key, any number of threads, and many requests at a time on each of them: what these reserve and
// commit becomes durable together, where Ledger::run_on() runs them. Several processes may issue from one
// ledger at the same time: what is promised (one certificate a device, one device a key, exact quantities)
// holds between them too.
class Issuer : private cmp::Authority {
 public:
  // All referred to, none owned; nobody else may use the ledger while several threads issue.
  // `station_validity`: of a renewed station's certificate. `order`: the only one that may be issued for, if
  // set. Once this CA's own certificate is revoked, whoever asks for one is refused: Error(configuration).
  Issuer(Ledger& ledger, const Signer& signer, Certificate issuing_certificate,
         std::filesystem::path profiles, const Validity& station_validity, const Clock& clock,
         std::optional<OrderId> order = {});

  // A second session with the same ledger, for looking stations up in: so that this does not wait for what
  // others commit. Not owned.
  void look_in(Ledger& ledger) { looking_ = &ledger; }

  // The answer to one PKIMessage, ready to be sent; a refusal is an answer. `order`: the one that the
  // transport names, if it does; `peer`: the key identifier of the station that it has recognised.
  // Error(protocol) for bytes that are no PKIMessage.
  Task<Bytes> answer(BytesView message, std::optional<OrderId> order = {}, Bytes peer = {});
  // The enrolled station that this certificate belongs to. Error(not_authorised) if there is none, or if it
  // is revoked or not valid now.
  cmp::Sender recognise(const Certificate& certificate) override;
  // Whoever knows the secret may ask in a station's name (lib/cmp/registration_authority.h). Before there are
  // threads.
  void trust_registration_authority(std::string secret) { responder_.trust(std::move(secret)); }

  // Steps 3 to 9. The certificate that is returned, as DER, is in the ledger, durably. Throws Error to
  // refuse; then nothing has changed, but for the alarm that a reused key leaves in the log.
  Task<Bytes> issue(const Submission& submission);

 private:
  struct ProvenRequest {
    DeviceId device;
    PublicKey key;
    OrderId order;
    std::string sender;
    std::string statement;
    std::optional<Time> made;
    Bytes sender_key_id;
  };
  struct Authorisation {
    // Of an earlier request for the same device with the same key: the certificate alone, if there is one.
    std::optional<Bytes> certificate;
    // What was begun for this device and not finished, for this key or, under a rework, for another one.
    std::optional<CertificateRecord> reservation;
    // Under a rework: the certificate that the new one comes after.
    std::optional<CertificateRecord> predecessor;
    std::optional<Rework> rework;
    std::optional<DeviceRecord> device;
    std::optional<Profile> profile;

    // As a reservation has it.
    long long rework_id() const { return rework ? rework->id : 0; }
    // Of the device's place, which it keeps; none if it has none yet.
    std::optional<OrderId> order_of_place() const;
  };
  struct Draft {
    CertificatePlan plan;
    Bytes tbs;
  };

  cmp::Sender authenticate(BytesView sender_key_id) override;                    // 2
  ProvenRequest prove(const Submission& submission) const;                       // 3
  Authorisation authorise(const ProvenRequest& request);                         // 4
  Draft build(const ProvenRequest& request, const Authorisation& authorisation,  // 5
              Time now) const;
  LintedCertificate lint_bytes(Draft draft) const;                                // 6
  void reserve(const ProvenRequest& request, const Authorisation& authorisation,  // 7
               const LintedCertificate& linted);
  Bytes sign_bytes(LintedCertificate&& linted) const;                             // 8
  Bytes commit(const ProvenRequest& request, const Authorisation& authorisation,  // 9
               const std::string& serial, const Bytes& certificate, Time now);

  Task<cmp::Issued> issue(const cmp::Sender& sender, const CertificateRequest& request,
                          std::optional<Time> made, std::string_view order) override;
  cmp::Issued renew(const cmp::Sender& sender, const PublicKey& key,
                    const std::optional<cmp::CertificateName>& replaces) override;
  Task<cmp::Confirmed> confirm(const cmp::Sender& sender, const Certificate& certificate,
                               bool accepted) override;
  void revoke(const cmp::Sender& sender, const cmp::RevocationRequest& request) override;
  void failed(const Error& error) override;

  Authorisation find_duplicate(const ProvenRequest& request);
  void refuse_if_made_before(const ProvenRequest& request, const Rework& rework);
  Rework rework_of(const ProvenRequest& request, const Standing& standing);
  void refuse_if_key_is_known(const ProvenRequest& request);
  bool is_sender_revoked(const ProvenRequest& request);
  void give_up(const ProvenRequest& request, const std::string& serial);
  void supersede(const Authorisation& authorisation, const std::string& serial, Time now);
  Task<Bytes> run_steps(const ProvenRequest& request);
  bool is_station_certificate(const cmp::CertificateName& name, const std::string& station);
  void raise_alarm(const ProvenRequest& request, const Error& error);

  Ledger& ledger_;
  Ledger* looking_;
  const Signer& signer_;
  Certificate issuing_certificate_;
  std::filesystem::path profiles_;
  Validity station_validity_;
  const Clock& clock_;
  std::optional<OrderId> only_order_;
  Memo<cmp::Sender> senders_;
  cmp::Responder responder_;
};

}  // namespace fleetroot::ca
