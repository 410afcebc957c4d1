// What our encoder writes, judged by the parsers of other people.
#include "factory-ca/certificate_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/files.h"
#include "lib/x509/der.h"
#include "tests/expect_error.h"
#include "tests/judge.h"
#include "tests/scratch_directory.h"
#include "tests/unit/factory_ca/software_ca.h"

namespace fleetroot::ca {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

using BitStringPtr = std::unique_ptr<ASN1_BIT_STRING, FreeWith<ASN1_BIT_STRING_free>>;
using OctetStringPtr = std::unique_ptr<ASN1_OCTET_STRING, FreeWith<ASN1_OCTET_STRING_free>>;

TEST(Der, WritesLengthsAsOpenSslDoes) {
  for (std::size_t size : {0U, 1U, 127U, 128U, 255U, 256U, 65535U, 65536U, 70000U}) {
    Bytes content(size, 0xa5);
    OctetStringPtr string(ASN1_OCTET_STRING_new());
    ASN1_OCTET_STRING_set(string.get(), content.data(), static_cast<int>(size));
    EXPECT_EQ(der::octet_string(content), to_der(i2d_ASN1_OCTET_STRING, string.get())) << size;
  }
}

TEST(Der, WritesNamedBitsAsOpenSslDoes) {
  for (unsigned bits = 0; bits < 0x10000; bits += 0x80) {
    BitStringPtr string(ASN1_BIT_STRING_new());
    for (int i = 0; i < 9; ++i) {
      if ((bits & (0x8000U >> i)) != 0) ASN1_BIT_STRING_set_bit(string.get(), i, 1);
    }
    EXPECT_EQ(der::named_bits(static_cast<std::uint16_t>(bits)), to_der(i2d_ASN1_BIT_STRING, string.get()))
        << bits;
  }
}

TEST(Der, WritesTimesAsOpenSslDoes) {
  using std::chrono::sys_days;
  using std::chrono::year;
  std::vector<Time> times{sys_days{year{1970} / 1 / 1}, sys_days{year{2028} / 2 / 29}, kNoExpiry,
                          Time(sys_days{year{2050} / 1 / 1}),
                          Time(sys_days{year{2050} / 1 / 1}) - std::chrono::seconds(1)};
  for (long long i = 0; i < 500; ++i) times.emplace_back(std::chrono::seconds(i * 16'777'259));
  for (Time time : times) {
    Asn1TimePtr theirs(ASN1_TIME_set(nullptr, static_cast<time_t>(time.time_since_epoch().count())));
    EXPECT_EQ(to_hex(der::time(time)), to_hex(to_der(i2d_ASN1_TIME, theirs.get()))) << format_time(time);
  }
}

TEST(Der, WritesObjectIdentifiers) {
  EXPECT_EQ(to_hex(der::object_identifier("2.5.4.3")), "0603550403");
  EXPECT_EQ(to_hex(der::object_identifier("1.2.840.113549")), "06062a864886f70d") << "X.690 section 8.19";
  EXPECT_EQ(to_hex(der::object_identifier("2.999.3")), "0603883703") << "X.690 section 8.19.5";
  for (const char* text : {"", "1", "3.1", "commonName", "1.2.a", "1.40"}) {
    EXPECT_EQ(code_of([&] { der::object_identifier(text); }), ErrorCode::configuration) << text;
  }
}

TEST(DistinguishedName, ReadsBackAsItWasWritten) {
  DistinguishedName name{{NameAttributeType::country, "DE"},
                         {NameAttributeType::organization, "Gerätebau"},
                         {NameAttributeType::organizational_unit, "Line 1"},
                         {NameAttributeType::serial_number, "S(1)/2"},
                         {NameAttributeType::common_name, "dev-1"}};
  Bytes der = encode_name(name);
  const unsigned char* in = der.data();
  X509NamePtr parsed(d2i_X509_NAME(nullptr, &in, static_cast<long>(der.size())));
  ASSERT_TRUE(parsed);
  ASSERT_EQ(X509_NAME_entry_count(parsed.get()), 5);
  for (int i = 0; i < 5; ++i) {
    const X509_NAME_ENTRY* entry = X509_NAME_get_entry(parsed.get(), i);
    EXPECT_EQ(X509_NAME_ENTRY_set(entry), i) << "one attribute a relative distinguished name";
    const NameAttribute& wanted = name[static_cast<std::size_t>(i)];
    EXPECT_EQ(OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry)), nid_of(wanted.type));
    const ASN1_STRING* text = X509_NAME_ENTRY_get_data(entry);
    EXPECT_EQ(as_text({ASN1_STRING_get0_data(text), static_cast<std::size_t>(ASN1_STRING_length(text))}),
              wanted.value);
    EXPECT_EQ(ASN1_STRING_type(text), i == 0 || i == 3 ? V_ASN1_PRINTABLESTRING : V_ASN1_UTF8STRING);
  }
}

TEST(DistinguishedName, KeepsTheUpperBounds) {
  using enum NameAttributeType;
  EXPECT_EQ(reason_against(country, "DE"), "");
  for (const char* text : {"", "D", "DEU", "D_", "Ü"}) EXPECT_NE(reason_against(country, text), "") << text;
  for (NameAttributeType type : {organization, organizational_unit, serial_number, common_name}) {
    EXPECT_EQ(reason_against(type, std::string(64, 'x')), "");
    EXPECT_NE(reason_against(type, std::string(65, 'x')), "");
    EXPECT_NE(reason_against(type, ""), "");
    EXPECT_NE(reason_against(type, "a\nb"), "");
  }
  for (const char* text : {"a_b", "a@b", "a*b", "Ä"}) {
    EXPECT_NE(reason_against(serial_number, text), "") << text;
    EXPECT_EQ(reason_against(common_name, text), "") << text;
  }
  EXPECT_EQ(code_of([] { encode_name({{country, "DEU"}}); }), ErrorCode::bad_request);
}

TEST(DistinguishedName, SaysWhatIsWrongWithAValue) {
  using enum NameAttributeType;
  EXPECT_EQ(reason_against(country, "DEU"), "it has 3 characters, 2 are allowed");
  EXPECT_EQ(reason_against(organization, ""), "it has 0 characters, 1 to 64 are allowed");
  EXPECT_EQ(error_of([] {
              encode_name({{organization, ""}});
            }).message(),
            "the organization cannot be used: it has 0 characters, 1 to 64 are allowed");
}

TEST(DistinguishedName, TakesPlainTextAlone) {
  for (const char* text : {"plain", "Gerät", "№ 1", "日本", "😀", "\xc2\xa0"})
    EXPECT_TRUE(is_plain_text(text)) << text;
  for (std::string_view text :
       {std::string_view("a\0b", 3), std::string_view("\x1f"), std::string_view("\x7f"),
        std::string_view("\xc2\x85"), std::string_view("\x80"), std::string_view("\xc0\xaf"),
        std::string_view("\xc3"), std::string_view("\xc3("), std::string_view("\xe0\x80\xaf"),
        std::string_view("\xed\xa0\x80"), std::string_view("\xf0\x80\x80\xaf"),
        std::string_view("\xf4\x90\x80\x80"), std::string_view("\xf5\x80\x80\x80"),
        std::string_view("\xe2\x82")}) {
    EXPECT_FALSE(is_plain_text(text)) << to_hex(as_bytes(text));
  }
}

TEST(CertificatePlan, NamesAKeyByRfc7093) {
  for (KeyAlgorithm algorithm : kKeyAlgorithms) {
    PublicKey key = software_public_key(algorithm);
    const unsigned char* in = key.spki().data();
    std::unique_ptr<X509_PUBKEY, FreeWith<X509_PUBKEY_free>> parsed(
        d2i_X509_PUBKEY(nullptr, &in, static_cast<long>(key.spki().size())));
    const unsigned char* bits = nullptr;
    int size = 0;
    X509_PUBKEY_get0_param(nullptr, &bits, &size, nullptr, parsed.get());
    Bytes digest = sha256({bits, static_cast<std::size_t>(size)});
    digest.resize(20);
    EXPECT_EQ(key_identifier_of(key), digest) << name_of(algorithm);
  }
}

class Judged : public testing::Test {
 protected:
  Judged() {
    write_file(directory_ / "root.pem", root_.certificate.pem());
    write_file(directory_ / "issuing.pem", issuing_.certificate.pem());
  }
  std::string path(const char* name) const { return (directory_ / name).string(); }
  Certificate device(const char* profile, const PublicKey& key = software_public_key()) {
    Certificate certificate =
        certificate_under(issuing_, shipped_profile(profile).plan(device_record("dev-1"), key, kTestTime));
    write_file(directory_ / "device.pem", certificate.pem());
    return certificate;
  }
  Judgement verify() const {
    return judge({"openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-attime",
                  std::to_string(kTestTime.time_since_epoch().count() + 1), "-CAfile", path("root.pem"),
                  "-untrusted", path("issuing.pem"), path("device.pem")});
  }
  std::string text_of(const char* name) const {
    return judge({"openssl", "x509", "-noout", "-text", "-in", path(name)}).output;
  }

  ScratchDirectory directory_;
  SoftwareCa root_ = make_root();
  SoftwareCa issuing_ = make_issuing(root_);
};

TEST_F(Judged, OpenSslAcceptsADeviceOfEveryKeyUnderEveryIssuer) {
  for (KeyAlgorithm algorithm : {KeyAlgorithm::p256, KeyAlgorithm::p384, KeyAlgorithm::rsa2048,
                                 KeyAlgorithm::rsa3072, KeyAlgorithm::ed25519}) {
    root_ = make_root("Fleet Root", 1, algorithm);
    issuing_ = make_issuing(root_, "Factory CA", algorithm);
    write_file(directory_ / "root.pem", root_.certificate.pem());
    write_file(directory_ / "issuing.pem", issuing_.certificate.pem());
    for (const char* profile : {"device", "idevid"}) {
      device(profile, issuing_.signer.public_key);
      EXPECT_TRUE(verify().accepted()) << profile << " under " << name_of(algorithm);
    }
  }
}

TEST_F(Judged, OpenSslReadsADeviceAsPlanned) {
  Certificate certificate = device("device");
  std::string text = text_of("device.pem");
  for (const char* line :
       {"Version: 3 (0x2)", "Signature Algorithm: ecdsa-with-SHA256", "Issuer: CN = Factory CA",
        "Not Before: Nov 24 00:00:00 2026 GMT", "Not After : Nov 24 00:00:00 2036 GMT",
        "Subject: CN = dev-1\n", "X509v3 Basic Constraints: critical\n                CA:FALSE",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "X509v3 Extended Key Usage: \n                TLS Web Client Authentication\n",
        "X509v3 Subject Key Identifier", "X509v3 Authority Key Identifier"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(text, Not(HasSubstr("Alternative Name")));
  EXPECT_EQ(X509_get_ext_count(certificate.x509()), 5);
}

TEST_F(Judged, OpenSslReadsTheRootAndTheIssuingCaAsPlanned) {
  std::string root = text_of("root.pem");
  EXPECT_THAT(root, HasSubstr("CA:TRUE, pathlen:1"));
  EXPECT_THAT(root, HasSubstr("Not After : Dec 31 23:59:59 9999 GMT"));
  EXPECT_THAT(root, HasSubstr("Digital Signature, Certificate Sign, CRL Sign"));
  EXPECT_THAT(root, Not(HasSubstr("Extended Key Usage")));
  std::string issuing = text_of("issuing.pem");
  EXPECT_THAT(issuing, HasSubstr("CA:TRUE, pathlen:0"));
  EXPECT_THAT(issuing, HasSubstr("Issuer: CN = Fleet Root"));
  EXPECT_THAT(issuing, Not(HasSubstr("Extended Key Usage")));
}

TEST_F(Judged, AGatewayForDevicesTakesNoStation) {
  Certificate station = certificate_under(
      issuing_, station_plan("st-01", software_public_key(), kTestTime, kTestTime + std::chrono::days(30)));
  write_file(directory_ / "device.pem", station.pem());
  EXPECT_FALSE(verify().accepted());
  EXPECT_THAT(text_of("device.pem"), HasSubstr("CMC Registration Authority"));
}

TEST_F(Judged, PythonReadsTheHardwareModuleName) {
  device("idevid");
  Judgement python =
      judge({"/usr/bin/python3", "-c",
             "import sys\n"
             "from cryptography import x509\n"
             "c = x509.load_pem_x509_certificate(open(sys.argv[1], 'rb').read())\n"
             "print(c.subject.rfc4514_string(), c.not_valid_after)\n"
             "names = c.extensions.get_extension_for_class(x509.SubjectAlternativeName)\n"
             "for n in names.value: print(n.type_id.dotted_string, n.value.hex(), names.critical)\n",
             path("device.pem")});
  EXPECT_THAT(python.output, HasSubstr("CN=dev-1,2.5.4.5=dev-1 9999-12-31 23:59:59\n"));
  // RFC 4108 section 5: SEQUENCE { hwType OBJECT IDENTIFIER, hwSerialNum OCTET STRING }
  Bytes value = der::sequence({der::object_identifier("2.25.117239208193265744936414205337125904385"),
                               der::octet_string(as_bytes("dev-1"))});
  EXPECT_THAT(python.output, HasSubstr("1.3.6.1.5.5.7.8.4 " + to_hex(value) + " False\n"));
}

}  // namespace
}  // namespace fleetroot::ca
