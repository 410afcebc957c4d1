// Path validation against pinned roots.
#include "lib/x509/chain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/expect_error.h"
#include "tests/software_pki.h"

namespace fleetroot {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Chain : public testing::Test {
 protected:
  Identity root_ = issue({.common_name = "Root", .extensions = kCaExtensions});
  Identity ca_ = issue({.common_name = "Factory CA",
                        .extensions = {{"basicConstraints", "critical,CA:TRUE,pathlen:0"},
                                       {"keyUsage", "critical,keyCertSign,cRLSign"}}},
                       &root_);
  Identity leaf_ = issue({.common_name = "dev-1", .extensions = kClientExtensions}, &ca_);

  ChainQuestion question() const {
    return {.roots = {root_.certificate}, .intermediates = {ca_.certificate}, .time = kTestTime};
  }
};

std::string refusal_of(const Certificate& leaf, const ChainQuestion& question) {
  Error error = error_of([&] { verify_chain(leaf, question); });
  EXPECT_EQ(error.code(), ErrorCode::certificate_rejected);
  return error.cause();
}

TEST_F(Chain, GoesFromLeafToRoot) {
  EXPECT_THAT(verify_chain(leaf_.certificate, question()),
              ElementsAre(leaf_.certificate, ca_.certificate, root_.certificate));
}

TEST_F(Chain, EndsAtWhatIsPinned) {
  ChainQuestion pinned_ca = question();
  pinned_ca.roots = {ca_.certificate};
  pinned_ca.intermediates = {};
  EXPECT_THAT(verify_chain(leaf_.certificate, pinned_ca), ElementsAre(leaf_.certificate, ca_.certificate));
}

TEST_F(Chain, HasItsTime) {
  ChainQuestion later = question();
  later.time = leaf_.certificate.not_after() + std::chrono::seconds(1);
  EXPECT_THAT(refusal_of(leaf_.certificate, later), HasSubstr("expired"));
  ChainQuestion earlier = question();
  earlier.time = leaf_.certificate.not_before() - std::chrono::seconds(1);
  EXPECT_THAT(refusal_of(leaf_.certificate, earlier), HasSubstr("not yet valid"));
  ChainQuestion last = question();
  last.time = leaf_.certificate.not_after() - std::chrono::seconds(1);
  EXPECT_NO_THROW(verify_chain(leaf_.certificate, last));
}

TEST_F(Chain, AnExpiredLinkBreaksIt) {
  Identity old_ca = issue(
      {.common_name = "Old CA", .extensions = kCaExtensions, .ends_after = -std::chrono::hours(1)}, &root_);
  Identity leaf = issue({.common_name = "dev-1", .extensions = kClientExtensions}, &old_ca);
  ChainQuestion asked = question();
  asked.intermediates = {old_ca.certificate};
  EXPECT_THAT(refusal_of(leaf.certificate, asked), HasSubstr("expired at depth 1"));
}

TEST_F(Chain, AnotherRootDoesNotDo) {
  ChainQuestion asked = question();
  asked.roots = {issue({.common_name = "Other", .extensions = kCaExtensions}).certificate};
  refusal_of(leaf_.certificate, asked);
  asked.roots = {};
  refusal_of(leaf_.certificate, asked);
}

TEST_F(Chain, ARootOfTheSameNameDoesNotDo) {
  Identity twin = issue({.common_name = "Root", .extensions = kCaExtensions});
  ChainQuestion asked = question();
  asked.roots = {twin.certificate};
  refusal_of(leaf_.certificate, asked);
  // And does not get in the way of the right one.
  for (const std::vector<Certificate>& roots :
       {std::vector{twin.certificate, root_.certificate}, std::vector{root_.certificate, twin.certificate}}) {
    asked.roots = roots;
    EXPECT_THAT(verify_chain(leaf_.certificate, asked),
                ElementsAre(leaf_.certificate, ca_.certificate, root_.certificate));
  }
}

TEST_F(Chain, ARootAmongTheIntermediatesIsNotTrusted) {
  ChainQuestion asked = question();
  asked.roots = {issue({.common_name = "Other", .extensions = kCaExtensions}).certificate};
  asked.intermediates = {ca_.certificate, root_.certificate};
  refusal_of(leaf_.certificate, asked);
}

TEST_F(Chain, AMissingLinkBreaksIt) {
  ChainQuestion asked = question();
  asked.intermediates = {};
  EXPECT_THAT(refusal_of(leaf_.certificate, asked), HasSubstr("unable to get local issuer"));
}

TEST_F(Chain, AForgedSignatureBreaksIt) {
  Identity forger{ca_.certificate, software_key()};
  Identity forged = issue({.common_name = "dev-1", .extensions = kClientExtensions}, &forger);
  EXPECT_THAT(refusal_of(forged.certificate, question()), HasSubstr("signature failure"));
}

TEST_F(Chain, ThePathLengthCounts) {
  Identity sub_ca = issue({.common_name = "Sub CA", .extensions = kCaExtensions}, &ca_);
  Identity leaf = issue({.common_name = "dev-1", .extensions = kClientExtensions}, &sub_ca);
  ChainQuestion asked = question();
  asked.intermediates = {ca_.certificate, sub_ca.certificate};
  EXPECT_THAT(refusal_of(leaf.certificate, asked), HasSubstr("path length"));
}

TEST_F(Chain, ADeviceIsNoCa) {
  Identity false_leaf = issue({.common_name = "dev-2", .extensions = kClientExtensions}, &leaf_);
  ChainQuestion asked = question();
  asked.intermediates = {ca_.certificate, leaf_.certificate};
  refusal_of(false_leaf.certificate, asked);
}

TEST_F(Chain, AServersCertificateIsNotAClients) {
  Identity server = issue({.common_name = "gw", .extensions = kServerExtensions}, &ca_);
  EXPECT_THAT(refusal_of(server.certificate, question()), HasSubstr("purpose"));
  ChainQuestion any = question();
  any.purpose = ChainPurpose::any;
  EXPECT_NO_THROW(verify_chain(server.certificate, any));
}

// HERE's own recipe for a Fleet Root.
TEST_F(Chain, ARootForServersOnlyCarriesNoClients) {
  ExtensionTexts extensions = kCaExtensions;
  extensions.emplace_back("extendedKeyUsage", "critical,serverAuth");
  Identity root = issue({.common_name = "Root", .extensions = extensions});
  Identity leaf = issue({.common_name = "dev-1", .extensions = kClientExtensions}, &root);
  EXPECT_THAT(
      refusal_of(leaf.certificate, {.roots = {root.certificate}, .intermediates = {}, .time = kTestTime}),
      HasSubstr("purpose"));
  // With clientAuth in it, it does.
  extensions.back().second = "serverAuth,clientAuth";
  Identity both = issue({.common_name = "Root", .extensions = extensions});
  Identity good = issue({.common_name = "dev-1", .extensions = kClientExtensions}, &both);
  EXPECT_NO_THROW(
      verify_chain(good.certificate, {.roots = {both.certificate}, .intermediates = {}, .time = kTestTime}));
}

TEST_F(Chain, WeakDigestsAndKeysAreRefused) {
  Identity sha1 =
      issue({.common_name = "dev-1", .extensions = kClientExtensions, .digest = EVP_sha1()}, &ca_);
  EXPECT_THAT(refusal_of(sha1.certificate, question()), HasSubstr("too weak"));
  Identity small =
      issue({.common_name = "dev-1", .extensions = kClientExtensions}, &ca_, EvpPkeyPtr(EVP_RSA_gen(1024)));
  EXPECT_THAT(refusal_of(small.certificate, question()), HasSubstr("too weak"));
}

TEST_F(Chain, AnUnknownCriticalExtensionIsRefused) {
  ExtensionTexts extensions = kClientExtensions;
  extensions.emplace_back("1.2.3.4", "critical,DER:0500");
  Identity leaf = issue({.common_name = "dev-1", .extensions = extensions}, &ca_);
  EXPECT_THAT(refusal_of(leaf.certificate, question()), HasSubstr("unhandled critical extension"));
}

}  // namespace
}  // namespace fleetroot
