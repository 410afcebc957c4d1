// Profiles: what a certificate says, and which files are refused before any certificate says it.
#include "factory-ca/profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/files.h"
#include "tests/expect_error.h"
#include "tests/scratch_directory.h"
#include "tests/unit/factory_ca/software_ca.h"

namespace fleetroot::ca {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kGood = R"(name = "device"
key_algorithms = ["p256"]
validity = "10 years"
key_usage = ["digitalSignature"]
extended_key_usage = ["clientAuth"]
)";

// kGood with the line of `key` replaced; without a replacement, left out.
std::string with(const std::string& key, const std::string& line) {
  std::string text = kGood;
  std::size_t begin = text.find(key + " = ");
  if (begin == std::string::npos) return text + line + "\n";
  return text.replace(begin, text.find('\n', begin) - begin, line);
}

std::string refusal_of(const std::string& toml) {
  Error error = error_of([&] { Profile::parse(toml, "device.toml"); });
  EXPECT_EQ(error.code(), ErrorCode::configuration) << toml;
  EXPECT_THAT(error.message(), HasSubstr("device.toml"));
  EXPECT_FALSE(error.hint().empty()) << toml;
  return error.message();
}

Time at(int year, unsigned month, unsigned day, int seconds = 0) {
  return Time(std::chrono::sys_days(std::chrono::year(year) / static_cast<int>(month) /
                                    static_cast<int>(day))) +
         std::chrono::seconds(seconds);
}

Time end_of(const char* validity, Time begin) {
  return Validity::parse(validity).value().end(begin);
}

TEST(Profile, DeviceSaysWhatTheFleetExpects) {
  Profile profile = shipped_profile("device");
  PublicKey key = software_public_key();
  CertificatePlan plan = profile.plan(device_record("dev-1", {{"hw_serial", "S1"}}), key, kTestTime);
  EXPECT_EQ(profile.name().text(), "device");
  EXPECT_THAT(plan.subject, ElementsAre(NameAttribute{NameAttributeType::common_name, "dev-1"}));
  EXPECT_EQ(plan.public_key, key);
  EXPECT_EQ(plan.not_before, kTestTime);
  EXPECT_EQ(plan.not_after, at(2036, 11, 24));
  EXPECT_EQ(plan.key_usage, kDigitalSignature);
  EXPECT_THAT(plan.extended_key_usage, ElementsAre("1.3.6.1.5.5.7.3.2"));
  EXPECT_FALSE(plan.hardware_module);
  EXPECT_FALSE(plan.is_ca);
  EXPECT_FALSE(plan.path_length);
  for (KeyAlgorithm algorithm : kKeyAlgorithms) EXPECT_TRUE(profile.allows(algorithm));
}

TEST(Profile, IdevidSaysWhatIeee8021ArAsks) {
  CertificatePlan plan =
      shipped_profile("idevid").plan(device_record("dev-1"), software_public_key(), kTestTime);
  EXPECT_THAT(plan.subject, ElementsAre(NameAttribute{NameAttributeType::serial_number, "dev-1"},
                                        NameAttribute{NameAttributeType::common_name, "dev-1"}));
  EXPECT_EQ(format_time(plan.not_after), "9999-12-31T23:59:59Z");
  EXPECT_EQ(plan.key_usage, kDigitalSignature);
  EXPECT_THAT(plan.extended_key_usage, IsEmpty());
  ASSERT_TRUE(plan.hardware_module);
  EXPECT_EQ(plan.hardware_module->type, "2.25.117239208193265744936414205337125904385");
  EXPECT_EQ(plan.hardware_module->serial, "dev-1");
}

TEST(Profile, TakesTheSubjectInItsOrderAndTheRestFromColumns) {
  Profile profile = Profile::parse(kGood + R"([subject]
serial_number = "column:hw_serial"
organizational_unit = "Line 1"
organization = "Gerätebau"
country = "DE"
[hardware_module]
type = "1.3.6.1.4.1.99999.1"
serial = "column:module"
)",
                                   "device.toml");
  DeviceRecord device = device_record("dev-1", {{"hw_serial", "S 1"}, {"module", "M1"}, {"other", "x"}});
  CertificatePlan plan = profile.plan(device, software_public_key(), kTestTime);
  EXPECT_THAT(plan.subject, ElementsAre(NameAttribute{NameAttributeType::country, "DE"},
                                        NameAttribute{NameAttributeType::organization, "Gerätebau"},
                                        NameAttribute{NameAttributeType::organizational_unit, "Line 1"},
                                        NameAttribute{NameAttributeType::serial_number, "S 1"},
                                        NameAttribute{NameAttributeType::common_name, "dev-1"}));
  EXPECT_EQ(plan.hardware_module, (HardwareModuleName{.type = "1.3.6.1.4.1.99999.1", .serial = "M1"}));
  EXPECT_NO_THROW(profile.refuse_unless_sufficient(device));
}

TEST(Profile, RefusesADeviceThatLacksAColumn) {
  for (const char* tail : {"[subject]\nserial_number = \"column:hw_serial\"\n",
                           "[hardware_module]\ntype = \"1.2.3\"\nserial = \"column:hw_serial\"\n"}) {
    Profile profile = Profile::parse(kGood + tail, "device.toml");
    for (const DeviceRecord& device : {device_record("dev-1"), device_record("dev-1", {{"hw_serial", ""}})}) {
      Error error = error_of([&] { profile.refuse_unless_sufficient(device); });
      EXPECT_EQ(error.code(), ErrorCode::bad_request);
      EXPECT_THAT(error.message(), AllOf(HasSubstr("hw_serial"), HasSubstr("dev-1")));
      EXPECT_EQ(code_of([&] { (void)profile.plan(device, software_public_key(), kTestTime); }),
                ErrorCode::bad_request);
    }
  }
}

TEST(Profile, RefusesAColumnThatNoCertificateCanCarry) {
  Profile profile =
      Profile::parse(kGood + "[subject]\nserial_number = \"column:hw_serial\"\n", "device.toml");
  for (const std::string& value : {std::string("a_b"), std::string("Gerät"), std::string(65, 'x')}) {
    EXPECT_EQ(code_of([&] {
                profile.refuse_unless_sufficient(device_record("dev-1", {{"hw_serial", value}}));
              }),
              ErrorCode::bad_request)
        << value;
  }
}

TEST(Profile, RefusesAnUnknownKeyAndNamesTheNearest) {
  Error error = error_of([&] { Profile::parse(with("validty", "validty = \"1 year\""), "device.toml"); });
  EXPECT_EQ(error.code(), ErrorCode::configuration);
  EXPECT_THAT(error.message() + error.hint(), AllOf(HasSubstr("validty"), HasSubstr("validity")));
  refusal_of(kGood + "[subject]\ncommon_name = \"x\"\n");
  refusal_of(kGood + "[subject]\nemail = \"x\"\n");
  refusal_of(kGood + "[extensions]\nfoo = \"x\"\n");
}

TEST(Profile, RefusesAMissingKey) {
  for (const char* key : {"name", "key_algorithms", "validity", "key_usage"}) {
    EXPECT_THAT(refusal_of(with(key, "")), HasSubstr(key));
  }
  EXPECT_NO_THROW(Profile::parse(with("extended_key_usage", ""), "device.toml"));
}

TEST(Profile, RefusesAValidityThatItCannotCount) {
  for (const char* text : {"", "10", "years", "0 years", "-1 years", "101 years", "36501 days", "10  years",
                           "10 years ", "10 months", "1.5 years", "99999999999 days", "NONE", "forever"}) {
    EXPECT_THAT(refusal_of(with("validity", std::string("validity = \"") + text + "\"")),
                HasSubstr("validity"));
  }
  for (const char* text : {"1 year", "100 years", "1 day", "36500 days", "none"}) {
    EXPECT_TRUE(Validity::parse(text)) << text;
  }
}

TEST(Profile, RefusesKeyUsagesThatAreNoDevices) {
  for (const char* list : {"[]", "[\"keyCertSign\"]", "[\"cRLSign\"]", "[\"digitalSignature\", \"signing\"]",
                           "\"digitalSignature\""}) {
    EXPECT_THAT(refusal_of(with("key_usage", std::string("key_usage = ") + list)), HasSubstr("key_usage"))
        << list;
  }
}

TEST(Profile, CombinesKeyUsages) {
  Profile profile = Profile::parse(with("key_usage",
                                        "key_usage = [\"digitalSignature\", \"nonRepudiation\", "
                                        "\"keyEncipherment\", \"dataEncipherment\", \"keyAgreement\"]"),
                                   "device.toml");
  EXPECT_EQ(profile.plan(device_record("dev-1"), software_public_key(), kTestTime).key_usage, 0xf800);
}

TEST(Profile, RefusesExtendedKeyUsagesThatItCannotWrite) {
  for (const char* list :
       {"[\"clientauth\"]", "[\"1\"]", "[\"1.2.\"]", "[\".1.2\"]", "[\"3.1.2\"]", "[\"1.40.2\"]", "[\"\"]",
        "[\"1..2\"]", "[\"1.2.03\"]", "[\"01.2.3\"]", "[\"1 2 3\"]"}) {
    EXPECT_THAT(refusal_of(with("extended_key_usage", std::string("extended_key_usage = ") + list)),
                HasSubstr("extended_key_usage"))
        << list;
  }
}

TEST(Profile, RefusesTheSameExtendedKeyUsageTwice) {
  for (const char* list : {"[\"clientAuth\", \"clientAuth\"]", "[\"clientAuth\", \"1.3.6.1.5.5.7.3.2\"]"}) {
    EXPECT_THAT(refusal_of(with("extended_key_usage", std::string("extended_key_usage = ") + list)),
                HasSubstr("twice"));
  }
}

TEST(Profile, RefusesSubjectsThatNoCertificateCanCarry) {
  EXPECT_THAT(refusal_of(kGood + "[subject]\ncountry = \"DEU\"\n"), HasSubstr("subject.country"));
  EXPECT_THAT(refusal_of(kGood + "[subject]\norganization = \"\"\n"), HasSubstr("subject.organization"));
  EXPECT_THAT(refusal_of(kGood + "[subject]\norganizational_unit = \"" + std::string(65, 'x') + "\"\n"),
              HasSubstr("subject.organizational_unit"));
  for (const char* source : {"", "S1", "column:", "column", "Column:a", "device_id "}) {
    EXPECT_THAT(refusal_of(kGood + "[subject]\nserial_number = \"" + source + "\"\n"),
                HasSubstr("subject.serial_number"));
  }
}

TEST(Profile, RefusesHalfAHardwareModule) {
  EXPECT_THAT(refusal_of(kGood + "[hardware_module]\ntype = \"1.2.3\"\n"), HasSubstr("both"));
  EXPECT_THAT(refusal_of(kGood + "[hardware_module]\nserial = \"device_id\"\n"), HasSubstr("both"));
  for (const char* type : {"hardware", "", "1", "1 2 3", "1.2.03"}) {
    EXPECT_THAT(refusal_of(kGood + "[hardware_module]\ntype = \"" + type + "\"\nserial = \"device_id\"\n"),
                HasSubstr("hardware_module.type"))
        << type;
  }
}

TEST(Profile, RefusesNamesAndAlgorithmsThatAreNone) {
  EXPECT_THAT(refusal_of(with("name", "name = \"../device\"")), HasSubstr("name"));
  EXPECT_THAT(refusal_of(with("key_algorithms", "key_algorithms = []")), HasSubstr("key_algorithms"));
  EXPECT_THAT(refusal_of(with("key_algorithms", "key_algorithms = [\"rsa1024\"]")),
              HasSubstr("key_algorithms"));
  refusal_of("name = ");
}

TEST(Profile, AllowsTheAlgorithmsOfItsListAlone) {
  Profile profile =
      Profile::parse(with("key_algorithms", "key_algorithms = [\"p384\", \"ed25519\"]"), "device.toml");
  for (KeyAlgorithm algorithm : kKeyAlgorithms) {
    EXPECT_EQ(profile.allows(algorithm),
              algorithm == KeyAlgorithm::p384 || algorithm == KeyAlgorithm::ed25519);
  }
}

TEST(Profile, IsReadUnderTheNameOfItsFile) {
  ScratchDirectory directory;
  write_file(directory / "device.toml", kGood);
  write_file(directory / "other.toml", kGood);
  Profile profile = Profile::read(directory.path(), ProfileName::parse("device"));
  EXPECT_EQ(profile.digest(), sha256_hex(as_bytes(kGood)));
  EXPECT_THAT(error_of([&] { (void)Profile::read(directory.path(), ProfileName::parse("other")); }).message(),
              HasSubstr("the file is called other"));
  EXPECT_EQ(code_of([&] { (void)Profile::read(directory.path(), ProfileName::parse("none")); }),
            ErrorCode::configuration);
}

TEST(Validity, EndsOnTheSameDayOfTheYear) {
  EXPECT_EQ(end_of("10 years", at(2026, 11, 24, 3723)), at(2036, 11, 24, 3723));
  EXPECT_EQ(end_of("1 year", at(2027, 12, 31, 86399)), at(2028, 12, 31, 86399));
}

TEST(Validity, FromTheTwentyNinthOfFebruaryEndsWithFebruary) {
  EXPECT_EQ(end_of("1 year", at(2028, 2, 29, 5)), at(2029, 2, 28, 5));
  EXPECT_EQ(end_of("4 years", at(2028, 2, 29)), at(2032, 2, 29));
  EXPECT_EQ(end_of("100 years", at(2028, 2, 29)), at(2128, 2, 29));
  EXPECT_EQ(end_of("72 years", at(2028, 2, 29)), at(2100, 2, 28)) << "2100 is no leap year";
}

TEST(Validity, CountsDaysOfTwentyFourHours) {
  EXPECT_EQ(end_of("1 day", at(2028, 2, 28, 7)), at(2028, 2, 29, 7));
  EXPECT_EQ(end_of("365 days", at(2027, 6, 1)), at(2028, 5, 31));
}

TEST(Validity, MayHaveNoEnd) {
  EXPECT_EQ(end_of("none", kTestTime), kNoExpiry);
}

}  // namespace
}  // namespace fleetroot::ca
