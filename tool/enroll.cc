#include "tool/enroll.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/base/files.h"
#include "lib/x509/certificate_request.h"
#include "lib/x509/chain.h"
#include "tool/ca_client.h"
#include "tool/est_client.h"
#include "tool/journal.h"

namespace fleetroot::station {
namespace {

// Nothing where there is none that can be read: then enrolling puts that right.
std::optional<Certificate> pinned_ca(const Home& home) {
  try {
    return home.issuing_certificates().front();
  } catch (const Error&) {
    return std::nullopt;
  }
}

// A CA counts a station's bundles, and would wait for those that another one got. One that has a new
// certificate for its key goes on counting, and answers no bundle that is for the old one.
void refuse_if_bound_to_another(const Home& home, const Certificate& ca) {
  std::optional<Certificate> present = pinned_ca(home);
  if (!present || *present == ca) return;
  Journal journal(home.file("journal.db"));
  MediaJournal& media = journal.media;
  bool is_same_ca = present->public_key() == ca.public_key();
  if (is_same_ca && !media.open_bundles().empty()) {
    throw Error(ErrorCode::busy, "a bundle of this station is on its way, for the CA's present certificate",
                "import its answer first (fleetroot-station media import), then run the same command again");
  }
  if (is_same_ca || (!media.last_bundle() && media.requests_to_send().empty())) return;
  throw Error(ErrorCode::configuration,
              fmt::format("this station exchanges numbered bundles with {}, and cannot change to another CA",
                          present->subject()),
              "make a new home for the new CA: fleetroot-station init; this one stays with its own");
}

// A root that stands first is not whom the CA's messages come from, where another one issues. EST has no such
// messages, and its CAs give their lists in any order.
bool has_root_before_ca(const Enrollment& enrollment) {
  const Certificate& first = enrollment.issuing.front();
  auto is_issuer = [&](const Certificate& ca) { return has_issued(ca, enrollment.certificate); };
  return !is_est_ca(enrollment.ca) &&
         std::ranges::find(enrollment.fleet_roots, first) != enrollment.fleet_roots.end() &&
         !is_issuer(first) && std::ranges::any_of(enrollment.issuing, is_issuer);
}

void refuse_wrong_pins(const Enrollment& enrollment) {
  for (const Certificate& root : enrollment.fleet_roots) {
    if (root.is_self_signed()) continue;
    throw Error(
        ErrorCode::certificate_rejected,
        fmt::format("{} is pinned as a Fleet Root, and is none: it is not signed with its own key",
                    root.subject()),
        "enroll with the issuing CA's certificate as --ca-certificate, and the root's as --fleet-root");
  }
  if (!has_root_before_ca(enrollment)) return;
  throw Error(
      ErrorCode::certificate_rejected,
      fmt::format("the first of the factory CA's pinned certificates is {}, a Fleet Root, and another "
                  "one has issued this station's",
                  enrollment.issuing.front().subject()),
      "put the issuing CA's certificate first in --ca-certificate, or alone, and enroll again");
}

}  // namespace

void refuse_unless_consistent(const Enrollment& enrollment, const PublicKey& station_key,
                              const StationName& name, Time now) {
  auto refuse = [](std::string message, std::string hint) -> void {
    throw Error(ErrorCode::certificate_rejected, std::move(message), std::move(hint));
  };
  if (!(enrollment.certificate.public_key() == station_key)) {
    refuse("the station certificate is for another key than this station's",
           "enroll with the certificate for station.csr");
  }
  if (enrollment.certificate.common_name() != name.text()) {
    refuse(fmt::format("the station certificate is for {}, this station is {}",
                       enrollment.certificate.subject(), name.text()),
           "enroll with the certificate for station.csr");
  }
  if (enrollment.certificate.not_after() < now) {
    refuse(fmt::format("the station's certificate expired at {}",
                       format_time(enrollment.certificate.not_after())),
           "have the CA write the next one (fleetroot-ca station renew), and enroll the station with it");
  }
  verify_chain(enrollment.certificate, {.roots = enrollment.fleet_roots,
                                        .intermediates = enrollment.issuing,
                                        .purpose = ChainPurpose::any,
                                        .time = now});
}

void enroll(const Home& home, const Enrollment& enrollment, Time now) {
  Settings settings = home.settings();
  refuse_unless_ca_url(enrollment.ca);
  CertificateRequest request = CertificateRequest::from_pem(read_file(home.file("station.csr")));
  refuse_wrong_pins(enrollment);
  refuse_unless_consistent(enrollment, request.public_key(), settings.name, now);
  refuse_if_bound_to_another(home, enrollment.issuing.front());
  std::string settings_text = home.settings_text_with(enrollment.ca);
  write_file(home.file("station.pem"), enrollment.certificate.pem());
  write_file(home.file("issuing-ca.pem"), to_pem(enrollment.issuing));
  write_file(home.file("fleet-root.pem"), to_pem(enrollment.fleet_roots));
  write_file(home.file("station.toml"), settings_text);
}

std::vector<std::string> check_configuration(const Home& home, Time now) {
  std::vector<std::string> lines;
  Settings settings = home.settings();
  lines.push_back(fmt::format("station.toml is well formed; this is station {}", settings.name.text()));
  pkcs11::SigningKey key = pkcs11::SigningKey::open(settings.station_token, settings.station_key_id);
  refuse_unless_signs(key.public_key(), key.evp());
  lines.push_back(fmt::format("the station's key signs ({})", name_of(key.public_key().algorithm())));
  Enrollment enrollment{.certificate = home.station_certificate(),
                        .issuing = home.issuing_certificates(),
                        .fleet_roots = home.fleet_roots(),
                        .ca = settings.ca};
  refuse_wrong_pins(enrollment);
  refuse_unless_consistent(enrollment, key.public_key(), settings.name, now);
  lines.push_back(fmt::format("its certificate chains to {} and is valid until {}",
                              enrollment.fleet_roots.front().subject(),
                              format_time(enrollment.certificate.not_after())));
  lines.push_back(fmt::format("requests go to {}", configured_ca(home, settings)));
  // As line does it, before the first scan.
  if (!settings.bays.empty()) {
    refuse_unless_unattended(pkcs11::Uri::parse(settings.station_token.uri), "the station's own",
                             ErrorCode::configuration);
  }
  for (const Bay& bay : settings.bays)
    lines.push_back(fmt::format("bay {} is written as line wants it", bay.name.text()));
  return lines;
}

}  // namespace fleetroot::station
