// Reading revocation lists: what OpenSSL makes is read; what restricts itself, or is not whole, is refused.
#include "lib/x509/crl.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/expect_error.h"
#include "tests/software_pki.h"

namespace fleetroot {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

using X509CrlPtr = std::unique_ptr<X509_CRL, FreeWith<X509_CRL_free>>;
using Asn1EnumeratedPtr = std::unique_ptr<ASN1_ENUMERATED, FreeWith<ASN1_ENUMERATED_free>>;

SerialNumber serial(int number) {
  return SerialNumber::from_hex(
      to_hex(Bytes{0x10, static_cast<std::uint8_t>(number >> 16), static_cast<std::uint8_t>(number >> 8),
                   static_cast<std::uint8_t>(number)}));
}

struct ListedEntry {
  SerialNumber serial;
  std::optional<int> reason;
  ExtensionTexts extensions;
};

// A list as OpenSSL makes it; each test changes one thing.
struct ListText {
  ExtensionTexts extensions{{"crlNumber", "DER:020107"}};
  std::vector<ListedEntry> entries{};
  int version = X509_CRL_VERSION_2;
  std::optional<std::chrono::hours> lasts = std::chrono::hours(24);
  const EVP_MD* digest = EVP_sha256();
  bool has_key_identifier = true;
  const char* this_update = nullptr;
  const char* revoked_at = nullptr;
};

class Crl : public testing::Test {
 protected:
  static Asn1TimePtr time_of(const char* text) {
    Asn1TimePtr asn1(ASN1_TIME_new());
    if (text == nullptr) {
      ASN1_TIME_set(asn1.get(), kTestTime.time_since_epoch().count());
    } else {
      EXPECT_EQ(ASN1_TIME_set_string(asn1.get(), text), 1) << text;
    }
    return asn1;
  }

  static void add_entry(X509_CRL* list, const ListedEntry& entry, const char* date) {
    X509_REVOKED* revoked = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(revoked, entry.serial.asn1().get());
    X509_REVOKED_set_revocationDate(revoked, time_of(date).get());
    if (entry.reason) {
      Asn1EnumeratedPtr code(ASN1_ENUMERATED_new());
      ASN1_ENUMERATED_set(code.get(), *entry.reason);
      X509_REVOKED_add1_ext_i2d(revoked, NID_crl_reason, code.get(), 0, 0);
    }
    for (const auto& extension : entry.extensions) {
      X509_REVOKED_add_ext(revoked, make_extension(extension).get(), -1);
    }
    X509_CRL_add0_revoked(list, revoked);
  }

  Bytes make(const ListText& text, const Identity& issuer) const {
    X509CrlPtr list(X509_CRL_new());
    X509_CRL_set_version(list.get(), text.version);
    X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(issuer.certificate.x509()));
    X509_CRL_set1_lastUpdate(list.get(), time_of(text.this_update).get());
    if (text.lasts) {
      Asn1TimePtr end(ASN1_TIME_set(nullptr, (kTestTime + *text.lasts).time_since_epoch().count()));
      X509_CRL_set1_nextUpdate(list.get(), end.get());
    }
    ExtensionTexts extensions = text.extensions;
    if (text.has_key_identifier) extensions.push_back({"authorityKeyIdentifier", "keyid:always"});
    for (const auto& extension : extensions) {
      X509_CRL_add_ext(list.get(), make_extension(extension, nullptr, issuer.certificate.x509()).get(), -1);
    }
    for (const ListedEntry& entry : text.entries) add_entry(list.get(), entry, text.revoked_at);
    EXPECT_GT(X509_CRL_sign(list.get(), issuer.key.get(), text.digest), 0) << take_openssl_errors();
    return to_der(i2d_X509_CRL, static_cast<const X509_CRL*>(list.get()));
  }
  CertificateRevocationList read(const ListText& text) const {
    return CertificateRevocationList::from_der(make(text, ca_));
  }
  Error refusal_of(const ListText& text) const {
    return error_of([&] { (void)read(text); });
  }

  Identity ca_ = issue({.common_name = "Factory CA", .extensions = kCaExtensions});
};

TEST_F(Crl, SaysWhatIsInIt) {
  CertificateRevocationList list = read({.entries = {{serial(2), 1, {}}, {serial(1), {}, {}}}});
  EXPECT_EQ(list.issuer(), "CN=Factory CA");
  EXPECT_EQ(list.authority_key_identifier(), ca_.certificate.subject_key_identifier());
  EXPECT_EQ(list.number(), 7U);
  EXPECT_EQ(list.delta_base(), std::nullopt);
  EXPECT_EQ(list.this_update(), kTestTime);
  EXPECT_EQ(list.next_update(), kTestTime + std::chrono::hours(24));
  ASSERT_THAT(list.entries(), SizeIs(2));
  EXPECT_EQ(list.entries()[0].serial, serial(1));
  EXPECT_EQ(list.find(serial(1)).value().reason, RevocationReason::unspecified);
  EXPECT_EQ(list.find(serial(2)).value().reason, RevocationReason::key_compromise);
  EXPECT_EQ(list.find(serial(2)).value().date, kTestTime);
  EXPECT_TRUE(list.is_revoked(serial(1)));
  EXPECT_FALSE(list.is_revoked(serial(3)));
  EXPECT_EQ(list.find(serial(3)), std::nullopt);
}

TEST_F(Crl, ReadsItsOwnPemAndDer) {
  CertificateRevocationList list = read({});
  EXPECT_EQ(CertificateRevocationList::from_pem(list.pem()).der(), list.der());
  EXPECT_EQ(CertificateRevocationList::from_pem(as_text(list.der())).der(), list.der());
  EXPECT_EQ(code_of([&] { (void)CertificateRevocationList::from_pem(list.pem() + list.pem()); }),
            ErrorCode::bad_request);
  EXPECT_EQ(code_of([&] { (void)CertificateRevocationList::from_pem(ca_.certificate.pem()); }),
            ErrorCode::bad_request);
}

TEST_F(Crl, HasItsTime) {
  CertificateRevocationList list = read({});
  EXPECT_FALSE(list.is_overdue(kTestTime - std::chrono::seconds(1))) << "it has not even begun";
  EXPECT_FALSE(list.is_overdue(kTestTime + std::chrono::hours(24)));
  EXPECT_TRUE(list.is_overdue(kTestTime + std::chrono::hours(24) + std::chrono::seconds(1)));
}

TEST_F(Crl, ADeltaKnowsItsBaseAndMayTakeBack) {
  CertificateRevocationList delta =
      read({.extensions = {{"crlNumber", "DER:020107"}, {"deltaCRL", "critical,DER:020105"}},
            .entries = {{serial(1), 4, {}}, {serial(2), 8, {}}}});
  EXPECT_EQ(delta.delta_base(), 5U);
  EXPECT_TRUE(delta.is_revoked(serial(1)));
  EXPECT_FALSE(delta.is_revoked(serial(2)));
  EXPECT_EQ(delta.find(serial(2)).value().reason, RevocationReason::remove_from_crl);
}

TEST_F(Crl, IsVerifiedWithItsIssuerAndNobodyElse) {
  CertificateRevocationList list = read({.entries = {{serial(1), 1, {}}}});
  EXPECT_NO_THROW(list.verify(ca_.certificate));
  auto refusal = [&](const Certificate& certificate) {
    Error error = error_of([&] { list.verify(certificate); });
    EXPECT_EQ(error.code(), ErrorCode::certificate_rejected);
    return error.message();
  };
  Identity same_name = issue({.common_name = "Factory CA", .extensions = kCaExtensions});
  EXPECT_THAT(refusal(same_name.certificate), HasSubstr("another key"));
  Identity other = issue({.common_name = "Another CA", .extensions = kCaExtensions});
  EXPECT_THAT(refusal(other.certificate), HasSubstr("not of CN=Another CA"));
}

TEST_F(Crl, ACaWithoutTheRightToSignListsSignsNone) {
  Identity ca =
      issue({.common_name = "Factory CA",
             .extensions = {{"basicConstraints", "critical,CA:TRUE"}, {"keyUsage", "critical,keyCertSign"}}});
  CertificateRevocationList list = CertificateRevocationList::from_der(make({}, ca));
  Error error = error_of([&] { list.verify(ca.certificate); });
  EXPECT_EQ(error.code(), ErrorCode::certificate_rejected);
  EXPECT_THAT(error.hint(), HasSubstr("cRLSign"));
}

TEST_F(Crl, Sha1DoesNotCount) {
  CertificateRevocationList list = read({.digest = EVP_sha1()});
  EXPECT_THAT(error_of([&] { list.verify(ca_.certificate); }).message(), HasSubstr("too weakly"));
}

TEST_F(Crl, RsaPssIsNotCalledWeak) {
  Identity ca = issue({.common_name = "Factory CA", .extensions = kCaExtensions}, nullptr,
                      software_key(KeyAlgorithm::rsa2048));
  Bytes der = make({}, ca);
  const unsigned char* in = der.data();
  X509CrlPtr list(d2i_X509_CRL(nullptr, &in, static_cast<long>(der.size())));
  EvpMdCtxPtr context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* key_context = nullptr;
  ASSERT_EQ(EVP_DigestSignInit(context.get(), &key_context, EVP_sha256(), nullptr, ca.key.get()), 1);
  ASSERT_GT(EVP_PKEY_CTX_set_rsa_padding(key_context, RSA_PKCS1_PSS_PADDING), 0);
  ASSERT_GT(X509_CRL_sign_ctx(list.get(), context.get()), 0);
  CertificateRevocationList pss =
      CertificateRevocationList::from_der(to_der(i2d_X509_CRL, static_cast<const X509_CRL*>(list.get())));
  EXPECT_THAT(error_of([&] { pss.verify(ca.certificate); }).message(), HasSubstr("signed with RSA-PSS"));
}

TEST_F(Crl, NamesOneSignatureAlgorithm) {
  Bytes der = make({}, ca_);
  const Bytes sha256 = *from_hex("06082a8648ce3d040302");
  auto outer = std::find_end(der.begin(), der.end(), sha256.begin(), sha256.end());
  ASSERT_NE(outer, der.end());
  outer[9] = 0x03;  // ecdsa-with-SHA384
  EXPECT_THAT(error_of([&] { (void)CertificateRevocationList::from_der(der); }).message(),
              HasSubstr("two signature algorithms"));
}

TEST_F(Crl, EveryFlippedBitIsNoticed) {
  Bytes der = make({.entries = {{serial(1), 1, {}}, {serial(2), 4, {}}}}, ca_);
  for (std::size_t bit = 0; bit < der.size() * 8; ++bit) {
    Bytes flipped = der;
    flipped[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    EXPECT_THROW(CertificateRevocationList::from_der(flipped).verify(ca_.certificate), Error)
        << "bit " << bit;
  }
}

TEST_F(Crl, EveryTruncationAndWhatFollowsIsRefused) {
  Bytes der = make({.entries = {{serial(1), 1, {}}}}, ca_);
  for (std::size_t size = 0; size < der.size(); ++size) {
    EXPECT_EQ(code_of([&] { (void)CertificateRevocationList::from_der(BytesView(der).first(size)); }),
              ErrorCode::bad_request);
  }
  der.push_back(0);
  EXPECT_EQ(code_of([&] { (void)CertificateRevocationList::from_der(der); }), ErrorCode::bad_request);
}

struct Breach {
  const char* name;
  ListText text;
  const char* message;
};

void PrintTo(const Breach& breach, std::ostream* out) {
  *out << breach.name;
}

class CrlBreaches : public Crl, public testing::WithParamInterface<Breach> {};

TEST_P(CrlBreaches, AreRefusedByName) {
  Error error = refusal_of(GetParam().text);
  EXPECT_EQ(error.code(), ErrorCode::bad_request);
  EXPECT_THAT(error.message(), HasSubstr(GetParam().message));
  EXPECT_FALSE(error.hint().empty());
}

INSTANTIATE_TEST_SUITE_P(
    Rfc5280, CrlBreaches,
    testing::Values(
        Breach{"Version1",
               {.extensions = {}, .version = X509_CRL_VERSION_1, .has_key_identifier = false},
               "version 2"},
        Breach{"NoNumber", {.extensions = {}}, "no number"},
        Breach{"NegativeNumber", {.extensions = {{"crlNumber", "DER:0201FF"}}}, "number that is not one"},
        Breach{"HugeNumber",
               {.extensions = {{"crlNumber", "DER:0209008000000000000000"}}},
               "number that is not one"},
        Breach{"TwoNumbers",
               {.extensions = {{"crlNumber", "DER:020101"}, {"crlNumber", "DER:020102"}}},
               "number that is not one"},
        Breach{"NumberAndMore", {.extensions = {{"crlNumber", "DER:0201070500"}}}, "number that is not one"},
        Breach{"TimeWithoutSeconds", {.this_update = "2611240000Z"}, "not in UTC, to the second"},
        Breach{"TimeElsewhere", {.this_update = "261124000000+0100"}, "not in UTC, to the second"},
        Breach{"TimeOfAnotherType", {.this_update = "20261124000000Z"}, "wrong type for its year"},
        Breach{"TimeWithFractions", {.this_update = "20501124000000.5Z"}, "not in UTC, to the second"},
        Breach{"RevokedWithoutSeconds",
               {.entries = {{serial(1), 1, {}}}, .revoked_at = "2611240000Z"},
               "not in UTC, to the second"},
        Breach{"NoKeyIdentifier", {.has_key_identifier = false}, "which key"},
        Breach{"NoNextUpdate", {.lasts = {}}, "no nextUpdate"},
        Breach{"EndsBeforeItBegins", {.lasts = std::chrono::hours(-1)}, "ends before"},
        Breach{"DeltaNotCritical",
               {.extensions = {{"crlNumber", "DER:020107"}, {"deltaCRL", "DER:020105"}}},
               "not critical"},
        Breach{"DeltaOfItself",
               {.extensions = {{"crlNumber", "DER:020107"}, {"deltaCRL", "critical,DER:020107"}}},
               "not older"},
        Breach{"PartOfTheCertificates",
               {.extensions = {{"crlNumber", "DER:020107"},
                               {"issuingDistributionPoint", "critical,onlyuser:TRUE"}}},
               "part of"},
        Breach{"UnknownCriticalExtension",
               {.extensions = {{"crlNumber", "DER:020107"}, {"1.2.3.4", "critical,DER:0500"}}},
               "critical extension 1.2.3.4"},
        Breach{"UnknownReason", {.entries = {{serial(1), 7, {}}}}, "no reason code"},
        Breach{"TakesBackThoughComplete", {.entries = {{serial(1), 8, {}}}}, "takes an entry back"},
        Breach{"ListsTwice", {.entries = {{serial(1), 1, {}}, {serial(1), 4, {}}}}, "twice"},
        Breach{"CriticalEntryExtension",
               {.entries = {{serial(1), 1, {{"1.2.3.4", "critical,DER:0500"}}}}},
               "entry with a critical extension"}),
    [](const auto& breach) { return breach.param.name; });

TEST(Reasons, AreSpeltAsInTheStandard) {
  EXPECT_EQ(name_of(RevocationReason::key_compromise), "keyCompromise");
  for (int code : {0, 1, 2, 3, 4, 5, 6, 8, 9, 10}) {
    RevocationReason reason = revocation_reason_from_code(code);
    EXPECT_EQ(parse_revocation_reason(name_of(reason)), reason);
  }
  EXPECT_THAT(error_of([] { (void)parse_revocation_reason("stolen"); }).hint(), HasSubstr("keyCompromise"));
}

TEST_F(Crl, AHundredThousandEntriesAreFoundOneByOne) {
  ListText text;
  for (int i = 0; i < 100'000; ++i) text.entries.push_back({serial(100'000 - i), 4, {}});
  CertificateRevocationList list = read(text);
  ASSERT_THAT(list.entries(), SizeIs(100'000));
  for (int i = 1; i <= 100'000; ++i) ASSERT_TRUE(list.is_revoked(serial(i)));
  EXPECT_FALSE(list.is_revoked(serial(100'001)));
  EXPECT_NO_THROW(list.verify(ca_.certificate));
}

}  // namespace
}  // namespace fleetroot
