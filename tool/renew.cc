#include "tool/renew.h"

#include <fmt/format.h>

#include "lib/base/files.h"
#include "lib/base/printable.h"
#include "tool/companions.h"
#include "tool/enroll.h"
#include "tool/media_queue.h"

namespace fleetroot::station {
namespace {

bool is_due(const Certificate& certificate, Time now) {
  Time::duration life = certificate.not_after() - certificate.not_before();
  return now > certificate.not_after() - life / 3;
}

Renewal renew_by(Companions& companions, const Home& home, const Settings& settings, const Clock& clock) {
  companions.refuse_unless_started();
  const Certificate& current = *companions.station_certificate();
  std::vector<Certificate> issuing = home.issuing_certificates();
  std::vector<Certificate> fleet_roots = home.fleet_roots();
  cmp::Enrolled answer = companions.ca().renew([&](const cmp::Enrolled& enrolled) {
    refuse_unless_consistent({.certificate = enrolled.certificate,
                              .issuing = issuing,
                              .fleet_roots = fleet_roots,
                              .ca = settings.ca},
                             current.public_key(), settings.name, clock.now());
    // On disk before the CA hears that it is.
    write_file(home.file("station.pem"), enrolled.certificate.pem());
  });
  return {.certificate = answer.certificate, .is_new = !(answer.certificate == current)};
}

}  // namespace

Renewal renew(const Home& home, const std::string& ca, const Clock& clock) {
  Settings settings = home.settings();
  (void)home.station_certificate();
  std::string url = ca.empty() ? configured_ca(home, settings) : ca;
  if (media_queue_of(url)) {
    throw Error(ErrorCode::usage, "a station is not renewed by removable media",
                "name another way to the CA with --ca, or have the CA write the next certificate "
                "(fleetroot-ca station renew), and enroll the station with it");
  }
  Companions companions(home, settings, url, std::nullopt);
  return renew_by(companions, home, settings, clock);
}

void renew_if_due(const Home& home, const Settings& settings, Companions& companions, const Clock& clock) {
  const std::optional<Certificate>& certificate = companions.station_certificate();
  if (!certificate || !is_due(*certificate, clock.now())) return;
  if (companions.go_by_media()) {
    fmt::print(stderr,
               "fleetroot-station: the station's certificate ends at {}, and is not renewed by media. Have "
               "the CA write the next one (fleetroot-ca station renew), and enroll the station with it\n",
               format_time(certificate->not_after()));
    return;
  }
  if (!companions.have_ca()) return;
  std::optional<FileDescriptor> turn = try_lock_file(home.file("locks") / "renewal");
  if (!turn) return;  // the present certificate is good while it is renewed
  if (!(home.station_certificate() == *certificate)) return companions.begin_anew();
  try {
    Renewal renewal = renew_by(companions, home, settings, clock);
    fmt::print(stderr, "fleetroot-station: the station's certificate {}, and valid until {}\n",
               renewal.is_new ? "is renewed" : "is the latest that the CA gives",
               format_time(renewal.certificate.not_after()));
  } catch (const Error& error) {
    fmt::print(stderr,
               "fleetroot-station: the station's certificate ends at {}, and is not renewed yet: {}. {}\n",
               format_time(certificate->not_after()), printable(error.message()), printable(error.hint()));
  }
  companions.begin_anew();
}

}  // namespace fleetroot::station
