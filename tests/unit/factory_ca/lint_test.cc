// Every rule of the lint step, broken alone.
#include "factory-ca/lint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/expect_error.h"
#include "tests/unit/factory_ca/lint_breaches.h"

namespace fleetroot::ca {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

using Rules = std::set<std::string_view>;

Rules broken_rules(const Subject& subject) {
  Certificate certificate =
      Certificate::from_der(assemble_certificate(subject.tbs, subject.issuer.algorithm, Bytes(70, 0x5a)));
  Rules broken;
  for (const LintRule& rule : lint_rules()) {
    LintCase lint_case{
        .tbs = subject.tbs, .certificate = certificate, .plan = subject.plan, .issuer = subject.issuer};
    if (!rule.reason(lint_case).empty()) broken.insert(rule.name);
  }
  return broken;
}

TEST(Lint, EveryRuleCatchesItsBreachAlone) {
  for (const Breach& breach : kBreaches) {
    SCOPED_TRACE(std::string(breach.rule) + ": " + breach.how);
    Subject subject;
    breach.spoil(subject);
    EXPECT_EQ(broken_rules(subject), Rules{breach.rule});
  }
}

TEST(Lint, EveryRuleHasABreach) {
  Rules tried;
  for (const Breach& breach : kBreaches) tried.insert(breach.rule);
  Rules all;
  for (const LintRule& rule : lint_rules()) all.insert(rule.name);
  EXPECT_EQ(all.size(), lint_rules().size()) << "a name is there twice";
  EXPECT_EQ(tried, all);
}

TEST(Lint, NamesTheRuleAndItsReferenceAndBlamesWhoCanMendIt) {
  for (const Breach& breach : kBreaches) {
    SCOPED_TRACE(std::string(breach.rule) + ": " + breach.how);
    Subject subject;
    breach.spoil(subject);
    Error error = error_of([&] { (void)lint(subject.tbs, subject.plan, subject.issuer); });
    bool theirs = breach.rule == "validity-order" || breach.rule == "validity-nesting";
    EXPECT_EQ(error.code(), theirs ? ErrorCode::configuration : ErrorCode::internal);
    EXPECT_THAT(error.message(), HasSubstr("the rule " + std::string(breach.rule) + ":"));
    EXPECT_THAT(error.cause(), testing::AnyOf(HasSubstr("RFC"), HasSubstr("X.690")));
  }
}

TEST(Lint, FindsMoreThanOneRuleBrokenWhereMoreIs) {
  Subject missing;
  std::vector<Bytes> extensions = extensions_of(missing.tbs);
  for (const char* oid : {kBasic, kUsage, kExtendedUsage, kSubjectKeyId, kAuthorityKeyId}) {
    std::vector<Bytes> rest;
    for (const Bytes& each : extensions) {
      if (!is_extension(each, oid)) rest.push_back(each);
    }
    Subject subject;
    subject.tbs = with_extensions(missing.tbs, rest);
    EXPECT_TRUE(broken_rules(subject).contains("extensions")) << "without " << oid;
    rest = extensions;
    for (const Bytes& each : extensions) {
      if (is_extension(each, oid)) rest.push_back(each);
    }
    subject.tbs = with_extensions(missing.tbs, rest);
    EXPECT_TRUE(broken_rules(subject).contains("extensions")) << "twice " << oid;
  }
}

TEST(Lint, PassesWhatBothProfilesMakeForEveryKeyUnderEveryIssuer) {
  SoftwareCa root = make_root();
  IssuerFacts issuer = make_issuing(root).signer.facts;
  for (const char* name : {"device", "idevid"}) {
    Profile profile = shipped_profile(name);
    for (KeyAlgorithm key : kKeyAlgorithms) {
      CertificatePlan plan = profile.plan(device_record("dev-1"), software_public_key(key), kTestTime);
      for (KeyAlgorithm algorithm : kKeyAlgorithms) {
        issuer.algorithm = algorithm;
        SerialNumber serial = SerialNumber::random();
        Bytes tbs = encode_tbs(plan, issuer, serial);
        LintedCertificate linted = lint(tbs, plan, issuer);
        EXPECT_EQ(linted.tbs(), tbs) << "the bytes that will be signed are the bytes that were linted";
        EXPECT_EQ(linted.serial(), serial);
        EXPECT_EQ(linted.signature_algorithm(), algorithm);
        EXPECT_EQ(linted.not_before(), plan.not_before);
        EXPECT_EQ(linted.not_after(), plan.not_after);
      }
    }
  }
}

TEST(Lint, PassesTheCertificatesOfCasAndStations) {
  Subject station(station_plan("st-01", software_public_key(), kTestTime, kTestTime + std::chrono::days(7)));
  EXPECT_THAT(broken_rules(station), IsEmpty());
  Subject issuing(issuing_plan("Sub CA", software_public_key(), kTestTime));
  EXPECT_THAT(broken_rules(issuing), IsEmpty());
  Subject root(root_plan("Root", software_public_key(), 1, kTestTime));
  root.issuer = IssuerFacts::self_signed(root.plan);
  root.encode();
  EXPECT_THAT(broken_rules(root), IsEmpty());
}

TEST(Lint, RefusesBytesThatAreNoCertificate) {
  Subject subject;
  for (std::size_t size : {std::size_t{0}, std::size_t{1}, subject.tbs.size() / 2, subject.tbs.size() - 1}) {
    Bytes cut(subject.tbs.begin(), subject.tbs.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_ANY_THROW((void)lint(cut, subject.plan, subject.issuer)) << size;
  }
}

TEST(Lint, FindsAnEmptyKeyUsage) {
  Subject subject;
  subject.plan.key_usage = 0;
  subject.encode();
  EXPECT_TRUE(broken_rules(subject).contains("key-usage"));
}

}  // namespace
}  // namespace fleetroot::ca
