// Who is let in, and for what reason nobody else is.
#include "device-gateway/admission.h"

#include <set>

#include "tests/unit/device_gateway/world.h"

namespace fleetroot::gateway {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;
using testing::SizeIs;

using Chain = std::vector<Certificate>;

constexpr Rules kShared{.allows_shared_credentials = true};
constexpr Rules kStrict{.is_strict = true};

// ---- refusals ----

// One thing that is wrong, in a world that knows device 1FLEET-KNOWN.
class Wrong : public GatewayWorld {
 protected:
  Wrong() { EXPECT_EQ(connect(chain_of(known_)), std::nullopt); }

  Identity leaf(const CertificateText& text, const Identity* issuer = nullptr,
                EvpPkeyPtr key = nullptr) const {
    return issue(text, issuer != nullptr ? issuer : &ca_, std::move(key));
  }
  static CertificateText good() { return {.common_name = "1FLEET-NEW", .extensions = kClientExtensions}; }
  Chain named(const std::string& name) const {
    CertificateText text = good();
    text.common_name = name;
    return chain_of(leaf(text));
  }
  Chain with_extensions(const ExtensionTexts& extensions) const {
    CertificateText text = good();
    text.extensions = extensions;
    return chain_of(leaf(text));
  }
  // id-RSASSA-PSS (RFC 4055 section 1.2)
  static EvpPkeyPtr pss_key() {
    EvpPkeyCtxPtr context(EVP_PKEY_CTX_new_from_name(nullptr, "RSA-PSS", nullptr));
    EVP_PKEY* key = nullptr;
    EVP_PKEY_keygen_init(context.get());
    EVP_PKEY_CTX_set_rsa_keygen_bits(context.get(), 2048);
    EVP_PKEY_generate(context.get(), &key);
    return EvpPkeyPtr(key);
  }
  Chain numbered(int serial) const {
    CertificateText text = good();
    text.serial = serial;
    return chain_of(leaf(text));
  }
  Chain under(const Identity& issuer) const {
    return {leaf(good(), &issuer).certificate, issuer.certificate};
  }
  // By the roots of both environments.
  Chain cross_certified() const {
    CertificateText text{.common_name = "Shared CA", .extensions = kIssuingExtensions};
    Identity here = issue(text, &root_);
    EVP_PKEY_up_ref(here.key.get());
    Identity there = issue(text, &test_root_, EvpPkeyPtr(here.key.get()));
    return {leaf(good(), &here).certificate, here.certificate, there.certificate};
  }
  void revoke(const Identity& issuer, const Identity& subject, RevocationReason reason) {
    put_list(issuer, 1, {{subject.certificate.serial(), reason}});
  }
  Chain shared_credential(bool is_revoked, std::chrono::hours lasts,
                          const EnvironmentName& environment = kTest) {
    Identity identity = issue({.common_name = "provisioning key k1", .extensions = kClientExtensions});
    CredentialName name = CredentialName::parse("k1");
    registry().add_credential({.name = name,
                               .environment = environment,
                               .certificate = identity.certificate.fingerprint(),
                               .quota = 10,
                               .expires = kTestTime + lasts,
                               .created_at = format_time(kTestTime)});
    if (is_revoked) registry().revoke_credential(name);
    return {identity.certificate};
  }

  Identity known_ = device("1FLEET-KNOWN");
};

struct Case {
  Refusal refusal;
  std::function<std::optional<Refusal>(Wrong&)> attempt;
};

class EveryRefusal : public Wrong {
 public:
  // Each attempt is made by one who does everything right but one thing.
  std::vector<std::pair<Refusal, std::function<std::optional<Refusal>()>>> cases() {
    return {
        {Refusal::no_certificate, [&] { return connect({}); }},
        {Refusal::chain_too_long,
         [&] {
           Chain chain = named("1FLEET-NEW");
           chain.resize(6, ca_.certificate);
           return connect(chain);
         }},
        {Refusal::self_signed, [&] { return connect({issue(good()).certificate}); }},
        {Refusal::unknown_root,
         [&] {
           Identity root = issue({.common_name = "Other Root", .extensions = kCaExtensions});
           return connect(under(root));
         }},
        {Refusal::unknown_root,
         [&] {
           Identity root = issue({.common_name = "Other Root", .extensions = kCaExtensions});
           return connect(under(issue({.common_name = "CA", .extensions = kIssuingExtensions}, &root)));
         }},
        {Refusal::false_root,
         [&] { return connect(under(issue({.common_name = "Fleet Root", .extensions = kCaExtensions}))); }},
        {Refusal::false_root,
         [&] {
           Identity root = issue({.common_name = "Fleet Root", .extensions = kCaExtensions});
           return connect(under(issue({.common_name = "CA", .extensions = kIssuingExtensions}, &root)));
         }},
        {Refusal::missing_intermediate, [&] { return connect({leaf(good()).certificate}); }},
        {Refusal::other_environment, [&] { return connect(under(test_root_)); }},
        {Refusal::other_environment, [&] { return connect(named("1FLEET-NEW"), {}, kTest); }},
        {Refusal::other_environment,  // the other one's root is a CA further down
         [&] {
           Identity upper = issue({.common_name = "Upper CA", .extensions = kCaExtensions}, &root_);
           Identity lower = issue({.common_name = "Lower CA", .extensions = kIssuingExtensions}, &upper);
           add_root(kTest, lower.certificate);
           return connect({leaf(good(), &lower).certificate, lower.certificate, upper.certificate});
         }},
        {Refusal::other_environment, [&] { return connect(cross_certified()); }},
        {Refusal::bad_signature,
         [&] {
           Identity forger{ca_.certificate, software_key()};
           return connect(under(forger));
         }},
        {Refusal::expired,
         [&] {
           CertificateText text = good();
           text.ends_after = -std::chrono::hours(1);
           return connect(chain_of(leaf(text)));
         }},
        {Refusal::not_yet_valid,
         [&] {
           CertificateText text = good();
           text.begins_before = -std::chrono::hours(1);
           return connect(chain_of(leaf(text)));
         }},
        {Refusal::ca_expired,
         [&] {
           return connect(under(issue(
               {.common_name = "CA", .extensions = kIssuingExtensions, .ends_after = -std::chrono::hours(1)},
               &root_)));
         }},
        {Refusal::ca_not_yet_valid,
         [&] {
           return connect(under(issue({.common_name = "CA",
                                       .extensions = kIssuingExtensions,
                                       .begins_before = -std::chrono::hours(1)},
                                      &root_)));
         }},
        {Refusal::path_too_long,
         [&] {
           Identity sub = issue({.common_name = "Sub CA", .extensions = kCaExtensions}, &ca_);
           return connect({leaf(good(), &sub).certificate, sub.certificate, ca_.certificate});
         }},
        {Refusal::name_constraints,
         [&] {
           ExtensionTexts extensions = kIssuingExtensions;
           extensions.emplace_back("nameConstraints", "critical,permitted;DNS:factory.example");
           Identity ca = issue({.common_name = "CA", .extensions = extensions}, &root_);
           CertificateText text = good();
           text.extensions.emplace_back("subjectAltName", "DNS:elsewhere.example");
           return connect({leaf(text, &ca).certificate, ca.certificate});
         }},
        {Refusal::not_a_ca,
         [&] {
           Identity false_ca = device("1FLEET-CA");
           return connect({leaf(good(), &false_ca).certificate, false_ca.certificate, ca_.certificate});
         }},
        {Refusal::weak_key,
         [&] { return connect(chain_of(leaf(good(), nullptr, EvpPkeyPtr(EVP_RSA_gen(1024))))); }},
        {Refusal::weak_ca_key,
         [&] {
           return connect(under(issue({.common_name = "CA", .extensions = kIssuingExtensions}, &root_,
                                      EvpPkeyPtr(EVP_RSA_gen(1024)))));
         }},
        {Refusal::key_kind_not_taken, [&] { return connect(chain_of(leaf(good(), nullptr, pss_key()))); }},
        {Refusal::key_kind_not_taken,
         [&] {
           return connect(
               under(issue({.common_name = "CA", .extensions = kIssuingExtensions}, &root_, pss_key())));
         }},
        {Refusal::weak_digest,
         [&] {
           CertificateText text = good();
           text.digest = EVP_sha1();
           return connect(chain_of(leaf(text)));
         }},
        {Refusal::unknown_critical_extension,
         [&] {
           ExtensionTexts extensions = kClientExtensions;
           extensions.emplace_back("1.2.3.4", "critical,DER:0500");
           return connect(with_extensions(extensions));
         }},
        {Refusal::ca_not_for_clients,
         [&] {
           ExtensionTexts extensions = kIssuingExtensions;
           extensions.emplace_back("extendedKeyUsage", "critical,serverAuth");
           return connect(under(issue({.common_name = "CA", .extensions = extensions}, &root_)));
         }},
        {Refusal::malformed_chain,  // a CA's basicConstraints must be critical (RFC 5280 section 4.2.1.9)
         [&] {
           return connect(under(
               issue({.common_name = "CA",
                      .extensions = {{"basicConstraints", "CA:TRUE"}, {"keyUsage", "critical,keyCertSign"}}},
                     &root_)));
         }},
        {Refusal::ca_certificate,
         [&] {
           ExtensionTexts extensions = kCaExtensions;
           extensions[1].second = "critical,keyCertSign,digitalSignature";
           extensions.emplace_back("extendedKeyUsage", "clientAuth");
           Identity ca = issue({.common_name = "1FLEET-NEW", .extensions = extensions}, &root_);
           return connect({ca.certificate});
         }},
        {Refusal::ca_certificate,  // which may not even sign certificates
         [&] {
           return connect(with_extensions({{"basicConstraints", "critical,CA:TRUE"},
                                           {"keyUsage", "critical,digitalSignature"},
                                           {"extendedKeyUsage", "clientAuth"}}));
         }},
        {Refusal::not_for_clients, [&] { return connect(with_extensions(kServerExtensions)); }},
        {Refusal::not_for_clients,
         [&] {
           return connect(with_extensions(
               {{"basicConstraints", "critical,CA:FALSE"}, {"keyUsage", "critical,digitalSignature"}}));
         }},
        {Refusal::not_for_signatures,
         [&] {
           return connect(with_extensions({{"basicConstraints", "critical,CA:FALSE"},
                                           {"keyUsage", "critical,keyAgreement"},
                                           {"extendedKeyUsage", "clientAuth"}}));
         }},
        {Refusal::bad_serial_number, [&] { return connect(numbered(0)); }},
        {Refusal::bad_serial_number, [&] { return connect(numbered(-1)); }},
        {Refusal::bad_serial_number,
         [&] {
           put_list(ca_, 1, {});
           return connect(numbered(0));
         }},
        {Refusal::bad_serial_number,
         [&] {
           return connect(
               under(issue({.common_name = "CA", .extensions = kIssuingExtensions, .serial = 0}, &root_)));
         }},
        {Refusal::no_common_name, [&] { return connect(named("")); }},
        {Refusal::several_common_names,
         [&] {
           CertificateText text = good();
           text.more_common_names = {"1FLEET-KNOWN"};
           return connect(chain_of(leaf(text)));
         }},
        {Refusal::nul_in_common_name,
         [&] {
           using namespace std::string_literals;
           return connect(named("1FLEET-KNOWN\0.example"s));
         }},
        {Refusal::common_name_too_long, [&] { return connect(named(std::string(65, 'A'))); }},
        {Refusal::invalid_device_id, [&] { return connect(named("../1FLEET")); }},
        {Refusal::invalid_device_id, [&] { return connect(named("provisioning key k1")); }},
        {Refusal::revoked,
         [&] {
           revoke(ca_, known_, RevocationReason::key_compromise);
           return connect(chain_of(known_));
         }},
        {Refusal::superseded,
         [&] {
           revoke(ca_, known_, RevocationReason::superseded);
           return connect(chain_of(known_));
         }},
        {Refusal::ca_revoked,
         [&] {
           revoke(root_, ca_, RevocationReason::ca_compromise);
           return connect(chain_of(known_));
         }},
        {Refusal::blocked,
         [&] {
           registry().set_state(kProduction, DeviceId::parse("1FLEET-KNOWN"), DeviceState::blocked);
           return connect(chain_of(known_));
         }},
        {Refusal::device_id_taken, [&] { return connect(chain_of(device("1FLEET-KNOWN"))); }},
        {Refusal::key_taken,
         [&] {
           EVP_PKEY_up_ref(known_.key.get());
           return connect(chain_of(device("1FLEET-NEW", EvpPkeyPtr(known_.key.get()))));
         }},
        {Refusal::not_on_manifest, [&] { return connect(named("1FLEET-NEW"), kStrict); }},
        {Refusal::not_on_manifest,
         [&] {
           deliver("1FLEET-NEW", device("1FLEET-NEW").certificate, "2026-11-24T00:00:00Z");
           return connect(named("1FLEET-NEW"), kStrict);
         }},
        {Refusal::shared_credentials_not_allowed,
         [&] { return connect(shared_credential(false, std::chrono::hours(1))); }},
        {Refusal::shared_credentials_revoked,
         [&] { return connect(shared_credential(true, std::chrono::hours(1)), kShared, kTest); }},
        {Refusal::shared_credentials_expired,
         [&] { return connect(shared_credential(false, std::chrono::hours(0)), kShared, kTest); }},
        {Refusal::other_environment,
         [&] {
           return connect(shared_credential(false, std::chrono::hours(1), kProduction), kShared, kTest);
         }},
    };
  }
};

class ARefusal : public EveryRefusal, public testing::WithParamInterface<std::size_t> {};

TEST_P(ARefusal, HasItsReasonAndLeavesNoTrace) {
  auto [reason, attempt] = cases().at(GetParam());
  std::vector<std::string> blocked{devices()};
  for (std::string& device : blocked) device.replace(device.rfind(' '), std::string::npos, " blocked");
  std::vector<std::string> before = devices();
  ASSERT_THAT(before, SizeIs(1));

  EXPECT_THAT(attempt(), Optional(reason));

  EXPECT_EQ(devices(), reason == Refusal::blocked ? blocked : before);
  EXPECT_THAT(devices(kTest), IsEmpty());
}

constexpr std::size_t kCases = 55;
INSTANTIATE_TEST_SUITE_P(Admission, ARefusal, testing::Range(std::size_t{0}, kCases));

class Refusals : public EveryRefusal {
  void TestBody() override {}

 public:
  std::size_t count() { return cases().size(); }
  std::set<Refusal> reasons() {
    std::set<Refusal> reasons;
    for (const auto& [reason, attempt] : cases()) reasons.insert(reason);
    return reasons;
  }
};

TEST(Refusals, AreAllTriedAndMany) {
  Refusals refusals;
  EXPECT_EQ(refusals.count(), kCases);
  EXPECT_GE(refusals.reasons().size(), 40U);
}

TEST(Refusals, HaveNamesOfTheirOwn) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(Refusal::upstream_unreachable); ++i) {
    auto refusal = static_cast<Refusal>(i);
    EXPECT_TRUE(names.insert(name_of(refusal)).second) << name_of(refusal);
    EXPECT_FALSE(words_of(refusal).empty());
  }
}

// ---- admissions ----

class Admitted : public GatewayWorld {
 protected:
  Standing standing_of(const Chain& chain, const Rules& rules = {}) {
    Decision decision = decide(chain, rules);
    const Refusal* refusal = std::get_if<Refusal>(&decision);
    EXPECT_EQ(refusal, nullptr) << (refusal != nullptr ? name_of(*refusal) : "");
    return refusal != nullptr ? Standing::admitted : std::get<AdmittedDevice>(decision).standing;
  }
  std::string key_of(const std::string& id) {
    return registry().device(kProduction, DeviceId::parse(id))->key;
  }
};

TEST_F(Admitted, AnUnknownDeviceJoinsUnderItsCommonName) {
  Identity one = device("1FLEET-1");
  EXPECT_EQ(standing_of(chain_of(one)), Standing::joins);
  EXPECT_THAT(devices(), IsEmpty()) << "deciding changed the registry";
  EXPECT_EQ(connect(chain_of(one)), std::nullopt);
  EXPECT_EQ(key_of("1FLEET-1"), key_digest(one.certificate));
  EXPECT_EQ(standing_of(chain_of(one)), Standing::admitted);
}

TEST_F(Admitted, OneRightUnderTheRootToo) {
  Identity one = issue({.common_name = "1FLEET-1", .extensions = kClientExtensions}, &root_);
  EXPECT_EQ(connect({one.certificate}), std::nullopt);
}

TEST_F(Admitted, TheSameNameIsAnotherDeviceInAnotherEnvironment) {
  Identity there = issue({.common_name = "1FLEET-1", .extensions = kClientExtensions}, &test_root_);
  EXPECT_EQ(connect(chain_of(device("1FLEET-1"))), std::nullopt);
  EXPECT_EQ(connect({there.certificate}, {}, kTest), std::nullopt);
  EXPECT_THAT(devices(kTest), SizeIs(1));
}

TEST_F(Admitted, ANewCertificateForTheSameKeyIsNoted) {
  Identity one = device("1FLEET-1");
  connect(chain_of(one));
  EVP_PKEY_up_ref(one.key.get());
  Identity renewed = device("1FLEET-1", EvpPkeyPtr(one.key.get()));
  EXPECT_EQ(standing_of(chain_of(renewed)), Standing::renewed);
  EXPECT_EQ(connect(chain_of(renewed)), std::nullopt);
  EXPECT_EQ(registry().device(kProduction, DeviceId::parse("1FLEET-1"))->certificate,
            renewed.certificate.fingerprint());
}

TEST_F(Admitted, ACertificateWithItsOtherSignatureIsTheSame) {
  Identity one = device("1FLEET-1");
  Chain twin{twin_of(one.certificate), ca_.certificate};
  ASSERT_NE(twin.front().fingerprint(), one.certificate.fingerprint());
  connect(chain_of(one));
  EXPECT_EQ(standing_of(twin), Standing::admitted);
}

TEST_F(Admitted, WhatAManifestHasSupersededStaysOutWithItsOtherSignatureToo) {
  Identity old = device("1FLEET-1");
  Identity reworked = device("1FLEET-1");
  Chain twin{twin_of(old.certificate), ca_.certificate};
  connect(chain_of(old));
  deliver("1FLEET-1", old.certificate, "2026-11-24T00:00:00Z", false, true);
  deliver("1FLEET-1", reworked.certificate, "2026-11-24T00:00:00Z", true);
  EXPECT_THAT(connect(chain_of(old)), Optional(Refusal::superseded));
  EXPECT_THAT(connect(twin), Optional(Refusal::superseded));
}

TEST_F(Admitted, AReworkedDeviceComesWithItsNewKeyAndNeverAgainWithTheOld) {
  Identity old = device("1FLEET-1");
  Identity reworked = device("1FLEET-1");
  connect(chain_of(old));
  EXPECT_THAT(connect(chain_of(reworked)), Optional(Refusal::device_id_taken));
  deliver("1FLEET-1", reworked.certificate, "2026-11-24T00:00:00Z");
  EXPECT_THAT(connect(chain_of(reworked)), Optional(Refusal::device_id_taken)) << "delivered, but no rework";
  deliver("1FLEET-1", reworked.certificate, "2026-11-24T00:00:00Z", true);
  EXPECT_EQ(standing_of(chain_of(old)), Standing::admitted) << "refused before the new key has come";
  EXPECT_EQ(standing_of(chain_of(reworked)), Standing::reworked);
  EXPECT_EQ(connect(chain_of(reworked)), std::nullopt);
  EXPECT_EQ(key_of("1FLEET-1"), key_digest(reworked.certificate));
  EXPECT_THAT(connect(chain_of(old)), Optional(Refusal::superseded));
  // A manifest from before the rework, imported late, does not bring the old key back.
  deliver("1FLEET-1", old.certificate, "2026-11-01T00:00:00Z");
  EXPECT_THAT(connect(chain_of(old)), Optional(Refusal::superseded));
}

TEST_F(Admitted, InStrictModeWhoIsOnAManifest) {
  Identity one = device("1FLEET-1");
  deliver("1FLEET-1", one.certificate, "2026-11-24T00:00:00Z");
  EXPECT_EQ(connect(chain_of(one), kStrict), std::nullopt);
  deliver("1FLEET-1", one.certificate, "2026-11-24T00:00:00Z", false, true);
  EXPECT_THAT(connect(chain_of(one), kStrict), Optional(Refusal::not_on_manifest));
}

TEST_F(Admitted, InRehearsalNothingIsRegistered) {
  EXPECT_EQ(connect(chain_of(device("1FLEET-1")), {.is_rehearsal = true}), std::nullopt);
  EXPECT_THAT(devices(), IsEmpty());
}

TEST_F(Admitted, OfTwoUnderOneNameAtOnceOneJoins) {
  Identity first = device("1FLEET-1");
  Identity second = device("1FLEET-1");
  Admission admission(kProduction, {});
  Decision one = decide(chain_of(first));
  Decision other = decide(chain_of(second));
  EXPECT_EQ(admission.enter(std::get<AdmittedDevice>(one), registry(), kTestTime), std::nullopt);
  EXPECT_THAT(admission.enter(std::get<AdmittedDevice>(other), registry(), kTestTime),
              Optional(Refusal::device_id_taken));
  EXPECT_EQ(key_of("1FLEET-1"), key_digest(first.certificate));
}

TEST_F(Admitted, ADeltaListAddsAndTakesBack) {
  Identity one = device("1FLEET-1");
  Identity two = device("1FLEET-2");
  put_list(ca_, 1, {{one.certificate.serial(), RevocationReason::certificate_hold}});
  put_list(ca_, 2,
           {{one.certificate.serial(), RevocationReason::remove_from_crl},
            {two.certificate.serial(), RevocationReason::key_compromise}},
           1);
  EXPECT_EQ(connect(chain_of(one)), std::nullopt);
  EXPECT_THAT(connect(chain_of(two)), Optional(Refusal::revoked));
  // A newer complete list knows better than an old delta.
  put_list(ca_, 3, {{one.certificate.serial(), RevocationReason::key_compromise}});
  EXPECT_THAT(connect(chain_of(one)), Optional(Refusal::revoked));
  EXPECT_EQ(connect(chain_of(two)), std::nullopt);
}

class Still : public Admitted {
 protected:
  std::optional<Refusal> still(const AdmittedDevice& device, const Rules& rules = {}, Time now = kTestTime) {
    return Admission(kProduction, rules).still(device, world(), registry(), now);
  }
};

TEST_F(Still, WhoWasLetInIsSentAwayByWhatChanges) {
  Identity identity = device("1FLEET-1");
  connect(chain_of(identity));
  AdmittedDevice device = std::get<AdmittedDevice>(decide(chain_of(identity)));
  EXPECT_EQ(still(device), std::nullopt);
  EXPECT_THAT(still(device, kStrict), Optional(Refusal::not_on_manifest));
  put_list(ca_, 1, {{identity.certificate.serial(), RevocationReason::key_compromise}});
  EXPECT_THAT(still(device), Optional(Refusal::revoked));
  put_list(ca_, 2, {});
  registry().set_state(kProduction, device.id, DeviceState::blocked);
  EXPECT_THAT(still(device), Optional(Refusal::blocked));
  registry().set_state(kProduction, device.id, DeviceState::admitted);
  registry().remove_root(kProduction, root_.certificate.fingerprint());
  EXPECT_THAT(still(device), Optional(Refusal::unknown_root));
}

TEST_F(Still, WhoseChainHasExpiredIsSentAway) {
  using std::chrono::hours;
  Identity root = issue({.common_name = "Root", .extensions = kCaExtensions, .ends_after = hours(9)});
  Identity ca = issue({.common_name = "CA", .extensions = kIssuingExtensions, .ends_after = hours(6)}, &root);
  Identity identity =
      issue({.common_name = "1FLEET-1", .extensions = kClientExtensions, .ends_after = hours(3)}, &ca);
  Identity longer = issue({.common_name = "1FLEET-2", .extensions = kClientExtensions}, &ca);
  Identity below_root = issue({.common_name = "1FLEET-3", .extensions = kClientExtensions}, &root);
  add_root(kProduction, root.certificate);
  auto still_after = [&](const Chain& chain, hours time) {
    EXPECT_EQ(connect(chain), std::nullopt);
    return still(std::get<AdmittedDevice>(decide(chain)), {}, kTestTime + time);
  };
  EXPECT_EQ(still_after({identity.certificate, ca.certificate}, hours(2)), std::nullopt);
  EXPECT_THAT(still_after({identity.certificate, ca.certificate}, hours(4)), Optional(Refusal::expired));
  EXPECT_EQ(still_after({longer.certificate, ca.certificate}, hours(4)), std::nullopt);
  EXPECT_THAT(still_after({longer.certificate, ca.certificate}, hours(7)), Optional(Refusal::ca_expired));
  EXPECT_EQ(still_after({below_root.certificate}, hours(7)), std::nullopt);
  EXPECT_THAT(still_after({below_root.certificate}, hours(10)), Optional(Refusal::ca_expired));
  // As it is said to who comes anew.
  Decision anew = Admission(kProduction, {})
                      .decide(Chain{below_root.certificate}, world(), registry(), kTestTime + hours(10));
  EXPECT_EQ(std::get<Refusal>(anew), Refusal::ca_expired);
}

TEST_F(Still, WhoseChainLeadsToAnotherEnvironmentNowIsSentAway) {
  Identity upper = issue({.common_name = "Upper CA", .extensions = kCaExtensions}, &root_);
  Identity lower = issue({.common_name = "Lower CA", .extensions = kIssuingExtensions}, &upper);
  Identity identity = issue({.common_name = "1FLEET-1", .extensions = kClientExtensions}, &lower);
  Chain chain{identity.certificate, lower.certificate, upper.certificate};
  EXPECT_EQ(connect(chain), std::nullopt);
  AdmittedDevice device = std::get<AdmittedDevice>(decide(chain));
  add_root(kTest, lower.certificate);
  EXPECT_THAT(still(device), Optional(Refusal::other_environment));
}

TEST_F(Still, EveryChangeOfTrustIsCounted) {
  Identity one = device("1FLEET-1");
  std::int64_t generation = registry().generation();
  auto has_changed = [&] { return std::exchange(generation, registry().generation()) != generation; };
  connect(chain_of(one));
  EXPECT_FALSE(has_changed()) << "a device that joins changes nothing for others";
  put_list(ca_, 1, {});
  EXPECT_TRUE(has_changed());
  deliver("1FLEET-1", one.certificate, "2026-11-24T00:00:00Z");
  EXPECT_TRUE(has_changed());
  registry().set_state(kProduction, DeviceId::parse("1FLEET-1"), DeviceState::blocked);
  EXPECT_TRUE(has_changed());
  registry().remove_root(kProduction, root_.certificate.fingerprint());
  EXPECT_TRUE(has_changed());
}

}  // namespace
}  // namespace fleetroot::gateway
