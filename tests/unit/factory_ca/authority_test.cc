// The CAs' own certificates and the stations': issued once, judged when they are brought along.
#include "factory-ca/authority.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/factory_ca/factory.h"

namespace fleetroot::ca {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

class Certify : public Factory {
 protected:
  Certificate station(const std::string& name, const PublicKey& key) {
    return certify(ledger(), issuing.signer, SubjectKind::station, name,
                   station_plan(name, key, clock.time, clock.time + std::chrono::days(365)), clock);
  }

  PublicKey key_ = software_public_key();
};

TEST_F(Certify, GivesTheSameSubjectWithTheSameKeyTheSameCertificate) {
  Certificate first = station("st-01", key_);
  clock.time += std::chrono::hours(1);
  EXPECT_EQ(station("st-01", key_).der(), first.der());
  EXPECT_THAT(events("station.certified"), SizeIs(1));
  EXPECT_EQ(events("station.certified")[0]["certificate"], first.fingerprint());
  EXPECT_EQ(ledger().certificates.live(SubjectKind::station, "st-01").value().certificate, first.der());
}

TEST_F(Certify, RefusesAnotherKeyUntilTheFirstIsRevoked) {
  Certificate first = station("st-01", key_);
  PublicKey other = software_public_key();
  EXPECT_EQ(code_of([&] { station("st-01", other); }), ErrorCode::device_has_certificate);
  revoke(first);
  EXPECT_EQ(code_of([&] { station("st-01", key_); }), ErrorCode::key_reused) << "a revoked key stays revoked";
  EXPECT_EQ(station("st-01", other).public_key(), other);
}

TEST_F(Certify, RefusesAKeyThatBelongsToAnotherSubject) {
  station("st-01", key_);
  Error error = error_of([&] { station("st-02", key_); });
  EXPECT_EQ(error.code(), ErrorCode::key_reused);
  EXPECT_THAT(error.message(), HasSubstr("station st-01"));
}

TEST_F(Certify, StartsAnewOverAReservationThatNobodyFinished) {
  auto reservation_of = [&](const char* serial, const PublicKey& key) {
    WriteTransaction transaction = ledger().write();
    ledger().certificates.reserve({.serial = serial,
                                   .kind = SubjectKind::station,
                                   .subject = "st-01",
                                   .order = {},
                                   .sender = "operator",
                                   .profile = "station",
                                   .profile_digest = {},
                                   .issuer_key_id = {},
                                   .public_key = key.fingerprint(),
                                   .key_algorithm = "p256",
                                   .key_id = to_hex(key_identifier_of(key)),
                                   .not_before = clock.time,
                                   .not_after = clock.time,
                                   .tbs = {1},
                                   .certificate = {},
                                   .statement = {}});
    transaction.commit();
  };
  reservation_of("01", key_);
  EXPECT_NE(station("st-01", key_).serial().hex(), "01");
  EXPECT_EQ(ledger().certificates.with_serial("01").value().state, CertificateState::abandoned);
  revoke(station("st-01", key_));
  reservation_of("02", software_public_key());
  EXPECT_NO_THROW(station("st-01", software_public_key())) << "nothing could revoke what was never issued";
}

// It is revoked between the look at the ledger and the transaction that would reserve.
TEST_F(Certify, RefusesOnceTheSignersOwnCertificateIsRevoked) {
  Signer signer = issuing.signer;
  signer.certificate = station("st-01", key_);  // any that the ledger has
  auto certify_another = [&] {
    CertificatePlan plan = station_plan("st-02", software_public_key(), clock.time, kNoExpiry);
    certify(ledger(), signer, SubjectKind::station, "st-02", plan, clock);
  };
  revoke(*signer.certificate);
  EXPECT_EQ(code_of(certify_another), ErrorCode::configuration);
  EXPECT_FALSE(ledger().certificates.live(SubjectKind::station, "st-02"));
}

TEST_F(Certify, CommitsNothingOnceTheSignersOwnCertificateIsRevoked) {
  Signer signer = issuing.signer;
  signer.certificate = station("st-01", key_);  // any that the ledger has
  when_looking(1, [&] { revoke(*signer.certificate); });
  CertificatePlan plan = station_plan("st-02", software_public_key(), clock.time, kNoExpiry);
  EXPECT_EQ(code_of([&] { certify(ledger(), signer, SubjectKind::station, "st-02", plan, clock); }),
            ErrorCode::configuration);
  EXPECT_EQ(ledger().certificates.live(SubjectKind::station, "st-02").value().state,
            CertificateState::reserved);
  EXPECT_THAT(events("station.certified"), SizeIs(1)) << "the first one's";
}

TEST_F(Certify, CommitsWhenItHasSignedAndNeverBefore) {
  auto issued_at = [&](const char* name) {
    station(name, software_public_key());
    return ledger().certificates.live(SubjectKind::station, name).value().issued_at;
  };
  Time begun = clock.time;
  when_looking(1, [&] { clock.time += std::chrono::hours(1); });
  EXPECT_EQ(issued_at("st-01"), format_time(begun + std::chrono::hours(1)));
  begun = clock.time;
  when_looking(1, [&] { clock.time -= std::chrono::hours(24); });
  EXPECT_EQ(issued_at("st-02"), format_time(begun));
}

class Renew : public Certify {
 protected:
  Certificate renew(const Validity& validity = kStationValidity) {
    return renew_station(ledger(), issuing.signer, "st-01", key_, validity, clock);
  }
  CertificateState state_of(const Certificate& certificate) {
    return ledger().certificates.with_serial(certificate.serial().hex()).value().state;
  }

  Certificate first_ = station("st-01", key_);
};

TEST_F(Renew, GivesTheCurrentOneWhileHalfOfItsLifeIsLeft) {
  clock.time += std::chrono::days(182);
  EXPECT_EQ(renew().der(), first_.der());
}

TEST_F(Renew, GivesTheNextOneForTheSameKeyOnce) {
  clock.time += std::chrono::days(183);
  Certificate next = renew();
  EXPECT_EQ(next.public_key(), key_);
  EXPECT_EQ(next.not_after(), clock.time + std::chrono::days(365));
  EXPECT_EQ(renew().der(), next.der()) << "the answer was lost";
  EXPECT_EQ(state_of(first_), CertificateState::revoked);
  EXPECT_EQ(state_of(next), CertificateState::issued);
  EXPECT_EQ(ledger().certificates.station_with_key_id(to_hex(key_identifier_of(key_)))->serial,
            next.serial().hex());
  clock.time += std::chrono::days(200);
  EXPECT_NE(renew().der(), next.der()) << "again and again";
  EXPECT_THAT(events("station.renewed"), SizeIs(2));
}

TEST_F(Renew, GivesItTheLifeThatStationsHaveNow) {
  clock.time += std::chrono::days(183);
  EXPECT_EQ(renew(*Validity::parse("90 days")).not_after(), clock.time + std::chrono::days(90));
}

TEST_F(Renew, NeedsTheCurrentKeyAndALiveCertificate) {
  clock.time += std::chrono::days(183);
  auto refusal = [&](const char* name, const PublicKey& key) {
    return code_of(
        [&] { (void)renew_station(ledger(), issuing.signer, name, key, kStationValidity, clock); });
  };
  EXPECT_EQ(refusal("st-01", software_public_key()), ErrorCode::not_authorised);
  EXPECT_EQ(refusal("st-02", key_), ErrorCode::not_authorised);
  revoke(first_);
  EXPECT_EQ(refusal("st-01", key_), ErrorCode::not_authorised);
}

TEST_F(Renew, CommitsNothingOnceTheSignersOwnCertificateIsRevoked) {
  Signer signer = issuing.signer;
  signer.certificate = station("st-02", software_public_key());  // any that the ledger has
  clock.time += std::chrono::days(183);
  when_looking(2, [&] { revoke(*signer.certificate); });
  EXPECT_EQ(code_of([&] { renew_station(ledger(), signer, "st-01", key_, kStationValidity, clock); }),
            ErrorCode::configuration);
  EXPECT_EQ(state_of(first_), CertificateState::issued);
  EXPECT_THAT(events("station.renewed"), SizeIs(0));
}

TEST_F(Renew, CommitsWhenItHasSignedAndNeverBefore) {
  clock.time += std::chrono::days(183);
  Time begun = clock.time;
  when_looking(2, [&] { clock.time += std::chrono::hours(1); });
  Certificate next = renew();
  EXPECT_EQ(next.not_before(), begun);
  auto issued_at = [&](const Certificate& certificate) {
    return ledger().certificates.with_serial(certificate.serial().hex()).value().issued_at;
  };
  EXPECT_EQ(issued_at(next), format_time(begun + std::chrono::hours(1)));
  clock.time = begun += std::chrono::days(183);
  when_looking(2, [&] { clock.time -= std::chrono::hours(24); });
  EXPECT_EQ(issued_at(renew()), format_time(begun));
}

TEST_F(Renew, StartsAnewOverAReservationThatNobodyFinished) {
  clock.time += std::chrono::days(183);
  CertificateRecord left = ledger().certificates.with_serial(first_.serial().hex()).value();
  left.serial = "01";
  left.tbs = {1};
  left.renewal = 1;
  {
    WriteTransaction transaction = ledger().write();
    ledger().certificates.reserve(left);
    transaction.commit();
  }
  Certificate next = renew();
  EXPECT_EQ(state_of(next), CertificateState::issued);
  EXPECT_EQ(ledger().certificates.with_serial("01").value().state, CertificateState::abandoned);
}

// A CA certificate made by OpenSSL, as somebody might bring it along.
struct Brought {
  ExtensionTexts extensions{{"basicConstraints", "critical,CA:TRUE"},
                            {"keyUsage", "critical,keyCertSign,cRLSign,digitalSignature"}};
  std::chrono::hours ends_after = std::chrono::hours(24 * 365);
  std::chrono::hours begins_before = std::chrono::hours(24);
  const EVP_MD* digest = EVP_sha256();

  Identity make(const std::string& name, const Identity* issuer = nullptr, EvpPkeyPtr key = nullptr) const {
    return issue({.common_name = name,
                  .extensions = extensions,
                  .begins_before = begins_before,
                  .ends_after = ends_after,
                  .digest = digest},
                 issuer, std::move(key));
  }
};

std::string refusal_of(const Certificate& root, const Certificate& issuing) {
  Error error = error_of([&] { refuse_unless_usable(root, issuing, kTestTime); });
  EXPECT_EQ(error.code(), ErrorCode::certificate_rejected) << error.what();
  EXPECT_FALSE(error.hint().empty());
  return error.what();
}

class Usable : public testing::Test {
 protected:
  std::string refusal_of_root(const Brought& brought) {
    Identity root = brought.make("Root");
    return refusal_of(root.certificate, Brought().make("CA", &root).certificate);
  }
  std::string refusal_of_issuing(const Brought& brought) {
    return refusal_of(root_.certificate, brought.make("CA", &root_).certificate);
  }

  Identity root_ = Brought().make("Root");
};

TEST_F(Usable, AreTwoTiersAndOne) {
  EXPECT_NO_THROW(
      refuse_unless_usable(root_.certificate, Brought().make("CA", &root_).certificate, kTestTime));
  EXPECT_NO_THROW(refuse_unless_usable(root_.certificate, root_.certificate, kTestTime));
  SoftwareCa ours = make_root();
  EXPECT_NO_THROW(refuse_unless_usable(ours.certificate, make_issuing(ours).certificate, kTestTime));
}

TEST_F(Usable, IsNoRootForServersAlone) {
  Brought brought;
  brought.extensions.push_back({"extendedKeyUsage", "critical,serverAuth"});
  EXPECT_THAT(refusal_of_root(brought), HasSubstr("clientAuth"));
  EXPECT_THAT(refusal_of_issuing(brought), HasSubstr("clientAuth"));
  brought.extensions.back().second = "serverAuth,clientAuth";
  Identity root = brought.make("Root");
  EXPECT_NO_THROW(refuse_unless_usable(root.certificate, Brought().make("CA", &root).certificate, kTestTime));
}

// OpenSSL applies a root's, too.
TEST_F(Usable, IsNoCaThatLimitsTheNamesBelow) {
  Brought brought;
  for (const char* names : {"critical,permitted;DNS:example.com", "excluded;email:example.com"}) {
    brought.extensions.push_back({"nameConstraints", names});
    EXPECT_THAT(refusal_of_root(brought), HasSubstr("limits the names below it"));
    EXPECT_THAT(refusal_of_issuing(brought), HasSubstr("limits the names below it"));
    brought.extensions.pop_back();
  }
}

TEST_F(Usable, IsNoRootThatAllowsNoCaBelow) {
  Brought brought;
  brought.extensions[0].second = "critical,CA:TRUE,pathlen:0";
  EXPECT_THAT(refusal_of_root(brought), HasSubstr("allows no issuing CA below it"));
  Identity single = brought.make("Root");
  EXPECT_NO_THROW(refuse_unless_usable(single.certificate, single.certificate, kTestTime));
}

TEST_F(Usable, IsNoCertificateOfAnythingButACa) {
  Brought brought;
  brought.extensions[0].second = "critical,CA:FALSE";
  EXPECT_THAT(refusal_of_root(brought), HasSubstr("not the certificate of a CA"));
  EXPECT_THAT(refusal_of_issuing(brought), HasSubstr("not the certificate of a CA"));
}

TEST_F(Usable, IsNoCaThatMayNotSignCertificates) {
  Brought brought;
  brought.extensions[1].second = "critical,cRLSign,digitalSignature";
  EXPECT_THAT(refusal_of_root(brought), HasSubstr("may not sign certificates"));
  EXPECT_THAT(refusal_of_issuing(brought), HasSubstr("may not sign certificates"));
}

TEST_F(Usable, IsNoIssuingCaThatMayNotSignMessages) {
  Brought brought;
  brought.extensions[1].second = "critical,keyCertSign,cRLSign";
  EXPECT_THAT(refusal_of_issuing(brought), HasSubstr("may not sign messages"));
  Identity root = brought.make("Root");
  EXPECT_NO_THROW(refuse_unless_usable(root.certificate, Brought().make("CA", &root).certificate, kTestTime))
      << "an offline root signs none";
}

TEST_F(Usable, IsNoIssuingCaThatMayNotSignRevocationLists) {
  Brought brought;
  brought.extensions[1].second = "critical,keyCertSign,digitalSignature";
  EXPECT_THAT(refusal_of_issuing(brought), HasSubstr("may not sign revocation lists"));
  Identity root = brought.make("Root");
  EXPECT_NO_THROW(refuse_unless_usable(root.certificate, Brought().make("CA", &root).certificate, kTestTime));
  EXPECT_FALSE(may_sign_lists(root.certificate));
}

TEST_F(Usable, IsNothingOutOfItsTime) {
  EXPECT_THAT(refusal_of_root({.ends_after = -std::chrono::hours(1)}), HasSubstr("is not valid any more"));
  EXPECT_THAT(refusal_of_issuing({.ends_after = -std::chrono::hours(1)}), HasSubstr("is not valid any more"));
}

TEST_F(Usable, IsNothingFromLaterThanTheClock) {
  Certificate later = Brought{.begins_before = -std::chrono::hours(1)}.make("CA", &root_).certificate;
  Error error = error_of([&] { refuse_unless_usable(root_.certificate, later, kTestTime); });
  EXPECT_EQ(error.code(), ErrorCode::clock);
  EXPECT_THAT(error.message(), HasSubstr("is not valid before"));
}

TEST_F(Usable, IsNoCaOfAnotherRoot) {
  Identity other = Brought().make("Root");
  EXPECT_THAT(refusal_of(other.certificate, Brought().make("CA", &root_).certificate),
              HasSubstr("unable to get local issuer certificate"));
}

TEST_F(Usable, IsNoRootThatAnotherCaCertified) {
  Identity below = Brought().make("CA", &root_);
  EXPECT_THAT(refusal_of(below.certificate, below.certificate), HasSubstr("is not signed by its own key"));
  EXPECT_THAT(refusal_of(below.certificate, Brought().make("Another CA", &below).certificate),
              HasSubstr("is not signed by its own key"));
  // With the root's name, and another's signature.
  Identity namesake = Brought().make("Root", &root_);
  EXPECT_THAT(refusal_of(namesake.certificate, namesake.certificate),
              HasSubstr("is not signed by its own key"));
}

TEST_F(Usable, IsNoCaWithASignatureThatCanBeForged) {
  EXPECT_THAT(refusal_of_issuing({.digest = EVP_sha1()}), HasSubstr("signature digest algorithm too weak"));
}

TEST_F(Usable, IsNoCaWithAKeyThatCanBeBroken) {
  Identity root = Brought().make("Root", nullptr, EvpPkeyPtr(EVP_RSA_gen(1024)));
  EXPECT_THAT(refusal_of(root.certificate, Brought().make("CA", &root).certificate),
              HasSubstr("RSA with 1024 bits"));
}

TEST_F(Usable, IsNoCaWithoutAnIdentifierForItsKey) {
  X509Ptr bare(X509_dup(Brought().make("Root").certificate.x509()));
  EvpPkeyPtr key = software_key();
  X509_set_pubkey(bare.get(), key.get());
  X509_EXTENSION_free(
      X509_delete_ext(bare.get(), X509_get_ext_by_NID(bare.get(), NID_subject_key_identifier, -1)));
  ASSERT_GT(X509_sign(bare.get(), key.get(), EVP_sha256()), 0);
  Certificate certificate = Certificate::from_der(to_der(i2d_X509, bare.get()));
  EXPECT_THAT(refusal_of(certificate, certificate), HasSubstr("subject key identifier"));
}

}  // namespace
}  // namespace fleetroot::ca
