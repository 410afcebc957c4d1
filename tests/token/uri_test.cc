// PKCS#11 URIs (RFC 7512), strictly.
#include "pkcs11/uri.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/expect_error.h"

namespace fleetroot::pkcs11 {
namespace {

using testing::HasSubstr;

TEST(Uris, AreReadWithTheirAttributes) {
  Uri uri = Uri::parse(
      "pkcs11:token=dev-1;manufacturer=Acme%20Ltd;model=M%3B1;serial=00ff?module-path=/lib/"
      "m.so&pin-source=file:p.txt");
  EXPECT_EQ(uri.token, "dev-1");
  EXPECT_EQ(uri.manufacturer, "Acme Ltd");
  EXPECT_EQ(uri.model, "M;1");
  EXPECT_EQ(uri.serial, "00ff");
  EXPECT_EQ(uri.module_path, "/lib/m.so");
  EXPECT_EQ(uri.pin_source, "file:p.txt");
}

TEST(Uris, NeedNothingButTheirScheme) {
  Uri uri = Uri::parse("pkcs11:");
  EXPECT_EQ(uri.token, std::nullopt);
  EXPECT_EQ(uri.module_path, std::nullopt);
  EXPECT_EQ(uri.describe(), "any token");
  EXPECT_EQ(Uri::parse("pkcs11:?module-path=/m.so").module_path, "/m.so");
}

TEST(Uris, TakeTheModulePathInEitherPartButOnce) {
  EXPECT_EQ(Uri::parse("pkcs11:token=a;module-path=/m.so").module_path, "/m.so");
  EXPECT_EQ(Uri::parse("pkcs11:module-path=/m%20x.so;token=a").module_path, "/m x.so");
  EXPECT_EQ(Uri::parse("pkcs11:token=a?module-path=/m%20x.so").module_path, "/m x.so");
  EXPECT_EQ(code_of([] { Uri::parse("pkcs11:module-path=/a.so?module-path=/b.so"); }), ErrorCode::usage);
}

TEST(Uris, ArePercentDecodedAsOctets) {
  EXPECT_EQ(Uri::parse("pkcs11:token=%c3%A9").token, "\xc3\xa9");
  EXPECT_EQ(Uri::parse("pkcs11:?pin-source=env:A%25B").pin_source, "env:A%B");
  EXPECT_EQ(Uri::parse("pkcs11:token=100%25").token, "100%");
}

TEST(Uris, ThatAParserCouldReadInTwoWaysAreRefused) {
  for (const char* text : {
           "",
           "token=a",
           "PKCS11:token=a",
           " pkcs11:token=a",
           "pkcs11 :token=a",
           // twice
           "pkcs11:token=a;token=b",
           "pkcs11:token=a;token=a",
           "pkcs11:?pin-source=a&pin-source=b",
           // blanks and what must be encoded
           "pkcs11:token=a b",
           "pkcs11:token=a\t",
           "pkcs11:token=a\n",
           "pkcs11:token=\xc3\xa9",
           "pkcs11:token=a#b",
           "pkcs11:token=a\"",
           "pkcs11: token=a",
           "pkcs11:token =a",
           // not name=value
           "pkcs11:token",
           "pkcs11:=a",
           "pkcs11:;token=a",
           "pkcs11:token=a;",
           "pkcs11:token=a;;serial=1",
           "pkcs11:?module-path=/m.so&",
           "pkcs11:?&module-path=/m.so",
           "pkcs11:token=",
           "pkcs11:?pin-source=",
           // broken encoding
           "pkcs11:token=%",
           "pkcs11:token=%4",
           "pkcs11:token=%zz",
           "pkcs11:token=a%00b",
           "pkcs11:?module-path=/m%00.so",
           // longer than any token's label
           "pkcs11:token=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
       }) {
    EXPECT_EQ(code_of([&] { Uri::parse(text); }), ErrorCode::usage) << text;
  }
  EXPECT_EQ(code_of([] { Uri::parse(std::string_view("pkcs11:token=a\0", 15)); }), ErrorCode::usage);
}

TEST(Uris, WithAttributesThatWouldBeIgnoredAreRefusedByName) {
  for (const char* text :
       {"pkcs11:object=key", "pkcs11:id=%01", "pkcs11:type=private", "pkcs11:slot-id=0", "pkcs11:tokn=a",
        "pkcs11:Token=a", "pkcs11:x-vendor=1", "pkcs11:?module-name=softhsm2", "pkcs11:?token=a",
        "pkcs11:pin-source=a", "pkcs11:library-version=2"}) {
    EXPECT_THAT(error_of([&] { Uri::parse(text); }).message(), HasSubstr("not used here")) << text;
  }
  EXPECT_THAT(error_of([] { Uri::parse("pkcs11:token=a;tokn=b"); }).message(), HasSubstr("tokn"));
}

TEST(Uris, WithAPinInThemAreRefusedAndThePinIsNotRepeated) {
  for (const char* text : {"pkcs11:token=a?pin-value=s3cret", "pkcs11:pin-value=s3cret"}) {
    Error error = error_of([&] { Uri::parse(text); });
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_THAT(error.hint(), HasSubstr("pin-source=file:"));
    EXPECT_EQ((std::string(error.what()) + error.hint()).find("s3cret"), std::string::npos);
  }
}

TEST(Uris, RunNoCommand) {
  EXPECT_THAT(error_of([] { Uri::parse("pkcs11:?pin-source=|cat%20pin"); }).message(), HasSubstr("command"));
  EXPECT_THAT(error_of([] { Uri::parse("pkcs11:?pin-source=%7Ccat%20pin"); }).message(),
              HasSubstr("command"));
}

TEST(Uris, AreDescribedWithoutModuleAndPinSource) {
  EXPECT_EQ(Uri::parse("pkcs11:serial=1;token=a?module-path=/m.so&pin-source=env:PIN").describe(),
            "token=a, serial=1");
}

}  // namespace
}  // namespace fleetroot::pkcs11
