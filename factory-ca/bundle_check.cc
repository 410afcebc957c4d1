#include "factory-ca/bundle_check.h"

#include <fmt/format.h>

#include "factory-ca/stations.h"
#include "lib/media/signed_document.h"

namespace fleetroot::ca {

namespace {

void refuse_if_for_another_ca(const media::RequestBundle& content, const Certificate& issuing) {
  if (content.ca == issuing.fingerprint()) return;
  throw Error(
      ErrorCode::bundle_foreign,
      fmt::format("the bundle is for another CA, whose certificate has the fingerprint {}", content.ca),
      "carry it to that CA; or enroll the station here again, if this CA has a new certificate");
}

// Who sends it. Of a stranger's bundle, which is refused in any case, this asks whose it is, and believes it.
StationRecord sender_of(BytesView document, BytesView key_id, Ledger& ledger, const Certificate& issuing,
                        Time now) {
  try {
    return enrolled_station(ledger, key_id, now);
  } catch (const Error&) {
    refuse_if_for_another_ca(media::RequestBundle::parse(media::content_of(document)), issuing);
    throw;
  }
}

}  // namespace

ReceivedBundle receive_bundle(BytesView document, Ledger& ledger, const Certificate& issuing, Time now) {
  std::optional<StationRecord> station;
  std::string json = media::verify_document(document, [&](BytesView key_id) {
    station = sender_of(document, key_id, ledger, issuing, now);
    // It may have been renewed since: the key is the station.
    std::vector<Certificate> certificates;
    for (const Bytes& der : ledger.certificates.of_station(station->key_id))
      certificates.push_back(Certificate::from_der(der));
    return certificates;
  });
  std::string digest = sha256_hex(as_bytes(json));
  media::RequestBundle content = media::RequestBundle::parse(json);
  refuse_if_for_another_ca(content, issuing);
  if (content.station.text() != station->subject) {
    throw Error(ErrorCode::bundle_foreign,
                fmt::format("the bundle is in the name of station {}, and {} signed it",
                            content.station.text(), station->subject),
                "a station sends its own bundles alone: find out how this one was made");
  }
  cmp::Sender sender{.name = station->subject, .certificate = Certificate::from_der(station->certificate)};
  return {.content = std::move(content),
          .digest = std::move(digest),
          .station = *std::move(station),
          .sender = std::move(sender)};
}

void refuse_unless_next(const ReceivedBundle& bundle, Ledger& ledger) {
  const media::RequestBundle& content = bundle.content;
  const std::string& station = content.station.text();
  std::optional<BundleRecord> last = ledger.bundles.last(station);
  // A station that was enrolled anew, with a new key in a new home, counts from the beginning.
  bool begins = content.sequence == 1 && !ledger.bundles.has_any_of(station, bundle.station.key_id);
  long long next = last && !begins ? last->sequence + 1 : 1;
  if (content.sequence > next) {
    throw Error(ErrorCode::bundle_gap,
                fmt::format("this is bundle {} of station {}, but its bundle {} has not come yet",
                            content.sequence, station, next),
                fmt::format("bring the earlier one first: the station exports it again with this one; where "
                            "it has the answer, because this ledger is from a back-up, bring "
                            "media/{:06}{} of its home, as {}.{:06}{}",
                            next, media::kRequestSuffix, station, next, media::kRequestSuffix));
  }
  if (content.sequence < next) {
    throw Error(ErrorCode::bundle_forked,
                fmt::format("bundle {} of station {} has been answered, and it was another one",
                            content.sequence, station),
                "find out who else signs as this station: a copy of its home, or an old one");
  }
  if (last && !begins && content.previous != last->digest) {
    throw Error(ErrorCode::bundle_forked,
                fmt::format("bundle {} of station {} does not follow the bundle {} that was answered",
                            content.sequence, station, last->sequence),
                "find out who else signs as this station: a copy of its home, or an old one");
  }
}

void refuse_if_expired(const ReceivedBundle& bundle, Time now) {
  const media::RequestBundle& content = bundle.content;
  if (now <= content.expires) return;
  throw Error(ErrorCode::bundle_expired,
              fmt::format("bundle {} of station {} was good until {}", content.sequence,
                          content.station.text(), format_time(content.expires)),
              "find out where it has been for so long; if nothing is wrong with it, add --accept-expired");
}

}  // namespace fleetroot::ca
