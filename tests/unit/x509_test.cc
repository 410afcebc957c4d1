// Device IDs, serial numbers, statements, certificates.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/dsa.h>
#include <openssl/err.h>

#include <nlohmann/json.hpp>
#include <set>

#include "lib/x509/device_id.h"
#include "lib/x509/name_text.h"
#include "lib/x509/provisioning_statement.h"
#include "lib/x509/serial_number.h"
#include "tests/expect_error.h"
#include "tests/software_pki.h"

namespace fleetroot {
namespace {

using testing::HasSubstr;

TEST(DeviceIds, AreWhatLabelsSay) {
  for (const char* text : {"1FLEET0000000001", "a", "0", "00:11:22:33:44:55", "a.b_c:d+e@f-g"}) {
    EXPECT_EQ(DeviceId::parse(text).text(), text);
  }
  EXPECT_EQ(DeviceId::parse(std::string(64, 'x')).text().size(), 64U);
}

TEST(DeviceIds, RefuseWhatANamePathOrQueryCouldMisread) {
  const std::vector<std::string> bad{"",
                                     std::string(65, 'x'),
                                     std::string("a\0b", 3),
                                     std::string("\0", 1),
                                     "a\n",
                                     "a\r\n",
                                     "a/b",
                                     "../a",
                                     " a",
                                     "a ",
                                     "-a",
                                     ".a",
                                     ":a",
                                     "\xc3\xa9",
                                     "a\xff",
                                     "a\x7f",
                                     "a,b",
                                     "a=b",
                                     "a'b",
                                     "a\"b",
                                     "a%b",
                                     "a*"};
  for (const std::string& text : bad) {
    EXPECT_EQ(code_of([&] { DeviceId::parse(text); }), ErrorCode::invalid_device_id) << text;
  }
}

TEST(DeviceIds, EveryByteIsDecidedAsTheHeaderSays) {
  const std::string allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:+@-";
  for (int byte = 0; byte < 256; ++byte) {
    std::string text{'a', static_cast<char>(byte)};
    bool accepted = true;
    try {
      DeviceId::parse(text);
    } catch (const Error&) {
      accepted = false;
    }
    EXPECT_EQ(accepted, allowed.find(static_cast<char>(byte)) != std::string::npos) << byte;
  }
}

TEST(DeviceIds, ARefusalSaysWhereAndShowsNothingThatATerminalWouldObey) {
  Error error = error_of([] { DeviceId::parse("abc\x1b[2J"); });
  EXPECT_THAT(error.message(), HasSubstr("position 4 (0x1b)"));
  EXPECT_EQ(error.message().find('\x1b'), std::string::npos);
}

TEST(SerialNumbers, ArePositiveAndEighteenOctetsAndNeverTheSame) {
  std::set<std::string> seen;
  for (int i = 0; i < 5000; ++i) {
    SerialNumber serial = SerialNumber::random();
    ASSERT_EQ(serial.hex().size(), 36U);
    int first = std::stoi(serial.hex().substr(0, 2), nullptr, 16);
    ASSERT_GE(first, 0x01);
    ASSERT_LE(first, 0x7f);
    // DER: INTEGER, 18 octets, no padding
    Bytes der = to_der(i2d_ASN1_INTEGER, static_cast<const ASN1_INTEGER*>(serial.asn1().get()));
    ASSERT_EQ(to_hex(der), "0212" + serial.hex());
    seen.insert(serial.hex());
  }
  EXPECT_EQ(seen.size(), 5000U);
}

TEST(SerialNumbers, UseEveryFirstOctet) {
  std::set<std::string> seen;
  for (int i = 0; i < 5000; ++i) seen.insert(SerialNumber::random().hex().substr(0, 2));
  EXPECT_EQ(seen.size(), 0x7fU);
}

TEST(SerialNumbers, AreTheSameHoweverTheyCame) {
  Identity identity = issue({.common_name = "a", .extensions = {}});
  SerialNumber serial = identity.certificate.serial();
  EXPECT_EQ(SerialNumber::from_hex(serial.hex()), serial);
  EXPECT_EQ(SerialNumber::from_hex("00" + serial.hex()), serial)
      << "an INTEGER's sign octet is no part of it";
  EXPECT_EQ(SerialNumber::from_hex("0001"), SerialNumber::from_hex("01"));
}

TEST(SerialNumbers, RefuseWhatNoCertificateOfOursHas) {
  for (const std::string& text :
       {std::string(), std::string("0"), std::string("xy"), std::string("00"), std::string(42, '1')}) {
    EXPECT_EQ(code_of([&] { SerialNumber::from_hex(text); }), ErrorCode::usage) << text;
  }
}

TEST(SerialNumbers, ANegativeOneIsNotItsPositiveTwin) {
  Identity identity = issue({.common_name = "a", .extensions = {}});
  X509Ptr negative(X509_dup(identity.certificate.x509()));
  Asn1IntegerPtr minus_five(ASN1_INTEGER_new());
  ASN1_INTEGER_set_int64(minus_five.get(), -5);
  X509_set_serialNumber(negative.get(), minus_five.get());
  EXPECT_EQ(code_of([&] { SerialNumber::of(negative.get()); }), ErrorCode::bad_request);
}

ProvisioningStatement a_statement() {
  return {.order = OrderId::parse("PO-4711"),
          .station = StationName::parse("st-01"),
          .bay = "bay \"3\"\n",
          .token_manufacturer = "SoftHSM project",
          .token_model = "SoftHSM v2",
          .token_serial = "5ad3",
          .token_firmware = "2.6",
          .key_local = true,
          .key_sensitive = true,
          .key_always_sensitive = false,
          .key_never_extractable = true,
          .mechanism = "CKM_EC_KEY_PAIR_GEN",
          .time = "2026-11-24T05:06:07Z"};
}

TEST(Statement, ComesBackAsItWas) {
  std::string json = a_statement().to_json();
  ProvisioningStatement again = ProvisioningStatement::parse(json);
  EXPECT_EQ(again.to_json(), json);
  EXPECT_EQ(again.bay, "bay \"3\"\n");
  EXPECT_EQ(again.order.text(), "PO-4711");
  EXPECT_TRUE(again.key_local);
  EXPECT_FALSE(again.key_always_sensitive);
  EXPECT_TRUE(again.key_never_extractable);
}

TEST(Statement, IsCanonical) {
  std::string json = a_statement().to_json();
  EXPECT_THAT(json, testing::StartsWith(R"({"bay":"bay \"3\"\n","format":"fleetroot-statement/1","key_alw)"));
  EXPECT_EQ(json.find('\n'), std::string::npos);
}

TEST(Statement, OfATokenWithABrokenNameIsStillUtf8) {
  ProvisioningStatement statement = a_statement();
  statement.token_model = "model \xff";
  EXPECT_EQ(ProvisioningStatement::parse(statement.to_json()).token_model, "model \xef\xbf\xbd");
}

TEST(Statement, EveryMemberIsRequiredAndNoOtherIsTaken) {
  const nlohmann::json whole = nlohmann::json::parse(a_statement().to_json());
  for (const auto& member : whole.items()) {
    nlohmann::json less = whole;
    less.erase(member.key());
    EXPECT_EQ(code_of([&] { ProvisioningStatement::parse(less.dump()); }), ErrorCode::bad_request)
        << member.key();
    less["other"] = 1;
    EXPECT_EQ(code_of([&] { ProvisioningStatement::parse(less.dump()); }), ErrorCode::bad_request)
        << member.key();
    nlohmann::json mistyped = whole;
    mistyped[member.key()] = 1;
    EXPECT_EQ(code_of([&] { ProvisioningStatement::parse(mistyped.dump()); }), ErrorCode::bad_request)
        << member.key();
  }
  nlohmann::json more = whole;
  more["other"] = "x";
  EXPECT_EQ(code_of([&] { ProvisioningStatement::parse(more.dump()); }), ErrorCode::bad_request);
}

TEST(Statement, RefusesWhatIsNoStatement) {
  std::string json = a_statement().to_json();
  std::string twice = json;
  twice.insert(1, R"("station":"st-02",)");
  std::string future = json;
  future.replace(future.find("statement/1"), 11, "statement/2");
  for (const std::string& bad :
       {std::string(), std::string("[]"), std::string("1"), json + "x", json.substr(1), twice, future,
        std::string(5000, '['), "{" + std::string(5000, ' ') + json.substr(1)}) {
    EXPECT_EQ(code_of([&] { ProvisioningStatement::parse(bad); }), ErrorCode::bad_request) << bad;
  }
  std::string bad_name = json;
  bad_name.replace(bad_name.find("PO-4711"), 7, "PO/4711");
  EXPECT_EQ(code_of([&] { ProvisioningStatement::parse(bad_name); }), ErrorCode::bad_request);
}

EvpPkeyPtr foreign_key(const std::string& kind) {
  if (kind != "DSA") return EvpPkeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, kind.c_str()));
  EvpPkeyCtxPtr parameters(EVP_PKEY_CTX_new_from_name(nullptr, "DSA", nullptr));
  EVP_PKEY* domain = nullptr;
  EVP_PKEY* key = nullptr;
  EVP_PKEY_paramgen_init(parameters.get());
  EVP_PKEY_CTX_set_dsa_paramgen_bits(parameters.get(), 1024);
  EVP_PKEY_paramgen(parameters.get(), &domain);
  EvpPkeyPtr owned(domain);
  EvpPkeyCtxPtr generation(EVP_PKEY_CTX_new_from_pkey(nullptr, domain, nullptr));
  EVP_PKEY_keygen_init(generation.get());
  EVP_PKEY_keygen(generation.get(), &key);
  return EvpPkeyPtr(key);
}

TEST(Certificates, TellWhatIsInThem) {
  Identity ca = issue({.common_name = "Root, 1", .extensions = kCaExtensions});
  Identity leaf = issue({.common_name = "dev-1", .extensions = kClientExtensions}, &ca);
  EXPECT_EQ(leaf.certificate.common_name(), "dev-1");
  EXPECT_EQ(leaf.certificate.subject(), "CN=dev-1");
  EXPECT_EQ(leaf.certificate.issuer(), "CN=Root\\, 1");
  EXPECT_EQ(leaf.certificate.not_before(), kTestTime - std::chrono::hours(24));
  EXPECT_EQ(leaf.certificate.not_after(), kTestTime + std::chrono::hours(24 * 365));
  EXPECT_EQ(leaf.certificate.public_key(), PublicKey::from_evp(leaf.key.get()));
  EXPECT_TRUE(ca.certificate.is_ca());
  EXPECT_FALSE(leaf.certificate.is_ca());
  EXPECT_TRUE(issue({.common_name = "dev-1",
                     .extensions = {{"basicConstraints", "critical,CA:TRUE"},
                                    {"keyUsage", "critical,digitalSignature"}}})
                  .certificate.is_ca())
      << "whatever it may sign";
  EXPECT_TRUE(leaf.certificate.has_extended_key_usage(NID_client_auth));
  EXPECT_FALSE(leaf.certificate.has_extended_key_usage(NID_server_auth));
  EXPECT_EQ(ca.certificate.subject_key_identifier().size(), 40U);
}

TEST(Certificates, AreSelfSignedWhereTheirOwnKeySigned) {
  Identity root = issue({.common_name = "Root", .extensions = kCaExtensions});
  EXPECT_TRUE(root.certificate.is_self_signed());
  EXPECT_FALSE(
      issue({.common_name = "dev-1", .extensions = kClientExtensions}, &root).certificate.is_self_signed());
  EXPECT_FALSE(issue({.common_name = "Root", .extensions = {}}, &root).certificate.is_self_signed())
      << "its own issuer by name alone";
  EXPECT_EQ(ERR_peek_error(), 0U);
}

TEST(Certificates, GoThroughDerAndPem) {
  Certificate a = issue({.common_name = "a", .extensions = {}}).certificate;
  Certificate b = issue({.common_name = "b", .extensions = {}}).certificate;
  EXPECT_EQ(Certificate::from_der(a.der()), a);
  EXPECT_EQ(Certificate::from_pem(a.pem()), a);
  Bytes der = a.der();
  EXPECT_EQ(Certificate::from_pem(as_text(der)), a);
  EXPECT_EQ(Certificate::list_from_pem(as_text(der)), std::vector<Certificate>{a});
  std::vector<Certificate> both = Certificate::list_from_pem(to_pem({a, b}));
  ASSERT_EQ(both.size(), 2U);
  EXPECT_EQ(both[0], a);
  EXPECT_EQ(both[1], b);
  EXPECT_FALSE(a == b);
}

TEST(Certificates, WhatIsNotExactlyOneIsRefused) {
  Certificate a = issue({.common_name = "a", .extensions = {}}).certificate;
  Bytes longer = a.der();
  longer.push_back(0);
  Bytes shorter = a.der();
  shorter.pop_back();
  EXPECT_EQ(code_of([&] { Certificate::from_der(longer); }), ErrorCode::bad_request);
  EXPECT_EQ(code_of([&] { Certificate::from_der(shorter); }), ErrorCode::bad_request);
  EXPECT_EQ(code_of([&] { Certificate::from_der({}); }), ErrorCode::bad_request);
  EXPECT_EQ(code_of([&] { Certificate::from_pem("nothing"); }), ErrorCode::bad_request);
  EXPECT_EQ(code_of([&] { Certificate::from_pem(to_pem({a, a})); }), ErrorCode::bad_request);
  EXPECT_EQ(code_of([&] { Certificate::list_from_pem(""); }), ErrorCode::bad_request);
  std::string broken = a.pem() + a.pem();
  broken[a.pem().size() + 100] = '!';
  EXPECT_EQ(code_of([&] { Certificate::list_from_pem(broken); }), ErrorCode::bad_request);
}

// OpenSSL knows these keys; the context that ours is reduced to does not.
TEST(Certificates, WithAKeyOfAnotherKindAreReadAndNeverBelieved) {
  for (const char* kind : {"DSA", "X448", "ED448"}) {
    SCOPED_TRACE(kind);
    EvpPkeyPtr signer = software_key();
    EvpPkeyPtr foreign = foreign_key(kind);
    ASSERT_TRUE(foreign);
    X509Ptr x509(X509_new());
    X509_set_version(x509.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x509.get()), 7);
    X509_gmtime_adj(X509_getm_notBefore(x509.get()), 0);
    X509_gmtime_adj(X509_getm_notAfter(x509.get()), 3600);
    set_common_name(X509_get_subject_name(x509.get()), "dev-1");
    X509_set_issuer_name(x509.get(), X509_get_subject_name(x509.get()));
    ASSERT_EQ(X509_set_pubkey(x509.get(), foreign.get()), 1);
    ASSERT_GT(X509_sign(x509.get(), signer.get(), EVP_sha256()), 0);

    Certificate certificate = Certificate::from_der(to_der(i2d_X509, x509.get()));
    EXPECT_EQ(certificate.common_name(), "dev-1");
    EXPECT_EQ(X509_get0_pubkey(certificate.x509()), nullptr);
    EXPECT_EQ(error_of([&] { certificate.public_key(); }).code(), ErrorCode::bad_request);
  }
}

TEST(Names, WithTwoCommonNamesOrANulHaveNone) {
  X509NamePtr name(X509_NAME_new());
  EXPECT_EQ(single_common_name(name.get()), std::nullopt);
  set_common_name(name.get(), "a");
  EXPECT_EQ(single_common_name(name.get()), "a");
  set_common_name(name.get(), "b");
  EXPECT_EQ(single_common_name(name.get()), std::nullopt);
  X509NamePtr nul(X509_NAME_new());
  set_common_name(nul.get(), std::string_view("a\0b", 3));
  EXPECT_EQ(single_common_name(nul.get()), std::nullopt);
}

}  // namespace
}  // namespace fleetroot
