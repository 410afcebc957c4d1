// Bundles at the CA: whatever happens on the way or in the middle, no request is lost and none is answered
// twice differently.
#include "factory-ca/bundle_answer.h"

#include <algorithm>
#include <random>

#include "factory-ca/carried_request.h"
#include "lib/cmp/client.h"
#include "lib/media/signed_document.h"
#include "tests/unit/factory_ca/factory.h"

namespace fleetroot::ca {
namespace {

struct Death {};

class Bundles : public Factory {
 protected:
  Bundles() { open_order("PO-1", 5); }

  Bytes message_for(const std::string& device, const EvpPkeyPtr& key) {
    return cmp::request_message({.certificate = station, .chain = {}, .key = station_key.get()},
                                issuing.certificate, request_for(device, key));
  }
  media::RequestBundle bundle_for(const std::vector<std::string>& devices, long long sequence = 1,
                                  const std::string& previous = media::kNoBundle) {
    media::RequestBundle bundle{.ca = issuing.certificate.fingerprint(),
                                .station = StationName::parse("st-01"),
                                .sequence = sequence,
                                .previous = previous,
                                .order = OrderId::parse("PO-1"),
                                .created = clock.time,
                                .expires = clock.time + std::chrono::hours(24),
                                .requests = {},
                                .receipts = {}};
    for (const std::string& device : devices) {
      bundle.requests.push_back(
          {.device_id = DeviceId::parse(device), .message = message_for(device, software_key())});
    }
    return bundle;
  }
  Bytes signed_by_station(const media::RequestBundle& bundle) {
    return media::sign_document(as_bytes(bundle.to_json()), station, station_key.get());
  }
  std::string digest_of(const Bytes& document) {
    return sha256_hex(as_bytes(media::verify_document(document, {station})));
  }
  // As another process of the CA would.
  AnsweredBundle answer(BytesView document) {
    std::unique_ptr<Process> ca = another_process();
    return BundleAnswers(home, ca->ledger, issuing.signer, issuing.certificate, ca->issuer, clock)
        .answer(document, [](std::size_t, std::size_t) {});
  }
  media::ResponseBundle read(const Bytes& reply) {
    return media::ResponseBundle::parse(media::verify_document(reply, {issuing.certificate}));
  }
  std::size_t replies() {
    auto files = std::filesystem::directory_iterator(directory / "media");
    return static_cast<std::size_t>(std::count_if(begin(files), end(files), [](const auto& entry) {
      return entry.path().extension() == media::kResponseSuffix;
    }));
  }

  Home home{directory.path()};
  EvpPkeyPtr station_key = software_key();
  Certificate station = certify(ledger(), issuing.signer, SubjectKind::station, "st-01",
                                station_plan("st-01", PublicKey::from_evp(station_key.get()), clock.time,
                                             clock.time + std::chrono::hours(24 * 365)),
                                clock);
};

TEST_F(Bundles, GetWhatTheLedgerHolds) {
  AnsweredBundle answered = answer(signed_by_station(bundle_for({"dev-1", "foreign", "dev-2"})));

  media::ResponseBundle reply = read(answered.reply);
  ASSERT_EQ(reply.answers.size(), 3U);
  EXPECT_EQ(reply.answers[0].certificate, live("dev-1")->certificate);
  EXPECT_EQ(reply.answers[1].refusal->code(), ErrorCode::not_on_order);
  EXPECT_EQ(reply.answers[2].certificate, live("dev-2")->certificate);
  EXPECT_EQ(answered.certificates, 2U);
  EXPECT_EQ(answered.refusals, 1U);
  EXPECT_EQ(used(), 2);
  EXPECT_EQ(live("dev-1")->sender, "st-01");
}

// Between the signatures and the commit: the clock is looked at twice for the bundle, and for each
// reservation.
TEST_F(Bundles, GetNothingOnceTheStationIsRevoked) {
  when_looking(5, [&] { revoke(station); });
  AnsweredBundle answered = answer(signed_by_station(bundle_for({"dev-1", "dev-2"})));
  for (const media::Answer& refused : read(answered.reply).answers)
    EXPECT_EQ(refused.refusal.value().code(), ErrorCode::not_authorised);
  EXPECT_EQ(answered.certificates, 0U);
  EXPECT_EQ(used(), 0);
}

TEST_F(Bundles, AReplayGetsTheSameBytesEvenMuchLater) {
  Bytes document = signed_by_station(bundle_for({"dev-1"}));
  Bytes first = answer(document).reply;
  Checkpoint before = ledger().log.checkpoint();

  clock.time += std::chrono::hours(24 * 30);
  close_order("PO-1");
  before = ledger().log.checkpoint();
  AnsweredBundle again = answer(document);

  EXPECT_TRUE(again.is_replay);
  EXPECT_EQ(again.reply, first);
  EXPECT_EQ(ledger().log.checkpoint().digest, before.digest);
}

TEST_F(Bundles, AnEarlierReplyThatIsGoneIsNotMadeAnew) {
  Bytes document = signed_by_station(bundle_for({"dev-1"}));
  answer(document);
  std::filesystem::path file = directory.path() / "media" / (digest_of(document) + ".response");
  write_file(file, "something else");
  EXPECT_EQ(code_of([&] { answer(document); }), ErrorCode::io);
  std::filesystem::remove(file);
  EXPECT_EQ(code_of([&] { answer(document); }), ErrorCode::io);
}

TEST_F(Bundles, GoOnAfterADeathAtAnyMoment) {
  Bytes document = signed_by_station(bundle_for({"dev-1", "dev-2", "dev-3"}));
  // The clock is looked at before and after everything that is decided.
  std::vector<std::string> serials;
  for (int moment = 1;; ++moment) {
    int looks = 0;
    clock.looking = [&] {
      if (++looks >= moment) throw Death();  // all of its threads, as a process dies
    };
    try {
      media::ResponseBundle reply = read(answer(document).reply);
      ASSERT_GT(moment, 6) << "it looked at the clock too rarely to die where it matters";
      for (const media::Answer& answered : reply.answers)
        serials.push_back(Certificate::from_der(*answered.certificate).serial().hex());
      break;
    } catch (const Death&) {
      EXPECT_FALSE(ledger().bundles.with_digest(digest_of(document))) << "after look " << moment;
    }
    clock.looking = [] {};
  }
  clock.looking = [] {};
  EXPECT_EQ(used(), 3);
  EXPECT_EQ(serials,
            (std::vector<std::string>{live("dev-1")->serial, live("dev-2")->serial, live("dev-3")->serial}));
  EXPECT_EQ(events("device.certified").size(), 3U);
  EXPECT_EQ(events("bundle.answered").size(), 1U);
}

TEST_F(Bundles, WhatIsWrongWithTheCaIsNoAnswer) {
  write_profile("device", "this is no profile");
  Bytes document = signed_by_station(bundle_for({"dev-1"}));
  EXPECT_EQ(code_of([&] { answer(document); }), ErrorCode::configuration);
  EXPECT_FALSE(ledger().bundles.last("st-01"));

  write_profile("device", std::string(shipped_profile_text("device")));
  EXPECT_EQ(answer(document).certificates, 1U);
}

TEST_F(Bundles, FillAnOrderExactlyAndSayWhoIsTooMuch) {
  AnsweredBundle answered =
      answer(signed_by_station(bundle_for({"dev-1", "dev-2", "dev-3", "dev-4", "dev-5", "dev-6"})));
  EXPECT_EQ(answered.certificates, 5U);
  EXPECT_EQ(read(answered.reply).answers[5].refusal->code(), ErrorCode::order_full);
}

TEST_F(Bundles, ReceiptsConfirm) {
  Bytes first = signed_by_station(bundle_for({"dev-1", "dev-2"}));
  answer(first);
  media::RequestBundle next = bundle_for({}, 2, digest_of(first));
  auto receipt = [&](const std::string& device, const std::string& serial, bool accepted) {
    next.receipts.push_back({.device_id = DeviceId::parse(device),
                             .serial = SerialNumber::from_hex(serial),
                             .accepted = accepted});
  };
  receipt("dev-1", live("dev-1")->serial, true);
  receipt("dev-2", live("dev-2")->serial, false);
  receipt("dev-3", live("dev-1")->serial, true);         // of another device
  receipt("dev-1", SerialNumber::random().hex(), true);  // of another CA
  receipt("st-01", station.serial().hex(), true);        // of no device
  Bytes second = signed_by_station(next);
  EXPECT_EQ(answer(second).receipts_taken, 2U);
  EXPECT_EQ(live("dev-1")->confirmation, Confirmation::accepted);
  EXPECT_EQ(live("dev-2")->confirmation, Confirmation::rejected);
  EXPECT_EQ(events("device.confirmed").size(), 1U);
  EXPECT_EQ(events("device.rejected").size(), 1U);
  EXPECT_EQ(answer(second).receipts_taken, 2U) << "again";
}

TEST_F(Bundles, OnlyTheStationThatAskedSaysThatItFailed) {
  Certificate certificate = process.issue(request_for("dev-1", software_key()), "PO-1", "st-02");
  auto receive = [&](long long sequence, const std::string& previous, bool accepted) {
    media::RequestBundle bundle = bundle_for({}, sequence, previous);
    bundle.receipts.push_back(
        {.device_id = DeviceId::parse("dev-1"), .serial = certificate.serial(), .accepted = accepted});
    Bytes document = signed_by_station(bundle);
    (void)answer(document);
    return digest_of(document);
  };
  std::string first = receive(1, media::kNoBundle, false);
  EXPECT_EQ(live("dev-1")->confirmation, Confirmation::none);
  EXPECT_TRUE(events("device.rejected").empty());
  receive(2, first, true);
  EXPECT_EQ(live("dev-1")->confirmation, Confirmation::accepted) << "a device may move";
}

TEST_F(Bundles, AreAnsweredWithoutAListThatIsTooLong) {
  write_file(directory / "crl.der", "a list");
  Bytes first = signed_by_station(bundle_for({"dev-1"}));
  EXPECT_TRUE(read(answer(first).reply).crl);
  std::filesystem::resize_file(directory / "crl.der", kMaximumFileSize + 1);
  EXPECT_FALSE(read(answer(signed_by_station(bundle_for({"dev-2"}, 2, digest_of(first)))).reply).crl);
}

TEST_F(Bundles, NoFlippedBitIsAcceptedOrChangesAnything) {
  Bytes document = signed_by_station(bundle_for({"dev-1", "dev-2"}));
  Checkpoint before = ledger().log.checkpoint();
  std::unique_ptr<Process> ca = another_process();
  BundleAnswers answers(home, ca->ledger, issuing.signer, issuing.certificate, ca->issuer, clock);
  std::mt19937 random(4711);  // NOLINT(cert-msc51-cpp,cert-msc32-c): the same bits in every run
  for (int i = 0; i < 3000; ++i) {
    std::size_t bit = random() % (document.size() * 8);
    document[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    EXPECT_THROW(answers.answer(document, [](std::size_t, std::size_t) {}), Error) << "bit " << bit;
    document[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
  }
  EXPECT_EQ(ledger().log.checkpoint().digest, before.digest);
  EXPECT_EQ(used(), 0);
  EXPECT_EQ(replies(), 0U);
}

// The station itself is no friend: it signs a bundle around a message that is not as it was made. Extra
// certificates, at the end, are covered by no CMP signature (RFC 4210 section 5.1), and nobody reads them.
TEST_F(Bundles, NoFlippedBitOfAMessageIsAccepted) {
  media::RequestBundle content = bundle_for({"dev-1"});
  ReceivedBundle bundle =
      receive_bundle(signed_by_station(content), ledger(), issuing.certificate, clock.time);
  media::CarriedRequest request = content.requests.front();
  Bytes extra = station.der();
  std::size_t covered = static_cast<std::size_t>(
      std::search(request.message.begin(), request.message.end(), extra.begin(), extra.end()) -
      request.message.begin());
  ASSERT_LT(covered, request.message.size());
  constexpr std::size_t kTagsAndLengthsOfExtraCertificates = 8;
  Checkpoint before = ledger().log.checkpoint();
  for (std::size_t bit = 0; bit < (covered - kTagsAndLengthsOfExtraCertificates) * 8; bit += 3) {
    request.message[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    EXPECT_THROW((void)run_alone(issue_carried(request, bundle, process.issuer)), Error) << "bit " << bit;
    request.message[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
  }
  EXPECT_EQ(ledger().log.checkpoint().digest, before.digest);
  EXPECT_EQ(used(), 0);
  EXPECT_EQ(Certificate::from_der(run_alone(issue_carried(request, bundle, process.issuer))).common_name(),
            "dev-1");
}

}  // namespace
}  // namespace fleetroot::ca
