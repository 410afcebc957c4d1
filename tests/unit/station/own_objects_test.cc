// What an attempt may finish or sweep, of all that lies on a token.
#include "tool/own_objects.h"

#include <gmock/gmock.h>

namespace fleetroot::station {
namespace {

using pkcs11::ObjectClass;
using pkcs11::ObjectIdentity;
using pkcs11::TokenObject;

const pkcs11::KeyPolicy kPolicy = pkcs11::KeyPolicy::preset("fleetroot", KeyAlgorithm::p256);

ObjectIdentity nameless(ObjectClass object_class, std::string digest = "") {
  return {.object_class = object_class, .id_hex = "", .label = "", .digest = std::move(digest)};
}

// Numbers the objects; tells which were left.
std::vector<pkcs11::ObjectHandle> left_of(const std::vector<ObjectIdentity>& objects,
                                          const std::vector<ObjectIdentity>& before = {}) {
  std::vector<TokenObject> on_token;
  for (const ObjectIdentity& object : objects) on_token.push_back({on_token.size(), object});
  std::vector<pkcs11::ObjectHandle> handles;
  for (const TokenObject& left : left_by_attempt(on_token, before, kPolicy, {}))
    handles.push_back(left.handle);
  return handles;
}

TEST(OwnObjects, HaveANameOfThePolicy) {
  const pkcs11::KeyName& name = kPolicy.identity().key;
  ObjectIdentity by_id{
      .object_class = ObjectClass::private_key, .id_hex = name.id.hex(), .label = "", .digest = ""};
  ObjectIdentity by_label{
      .object_class = ObjectClass::public_key, .id_hex = "", .label = name.label, .digest = ""};
  ObjectIdentity other{
      .object_class = ObjectClass::private_key, .id_hex = "09", .label = "wifi", .digest = ""};
  EXPECT_THAT(left_of({by_id, other, by_label}), testing::ElementsAre(0, 2));
}

TEST(OwnObjects, AreWhatAKillLeftBeforeItHadAName) {
  EXPECT_THAT(left_of({nameless(ObjectClass::private_key), nameless(ObjectClass::public_key),
                       nameless(ObjectClass::certificate), nameless(ObjectClass::unfinished)}),
              testing::ElementsAre(0, 1, 2, 3));
}

TEST(OwnObjects, AreNoWholeCertificateWithoutAName) {
  EXPECT_THAT(left_of({nameless(ObjectClass::certificate, "aa"),
                       nameless(ObjectClass::certificate, sha256_hex(Bytes{}))}),
              testing::ElementsAre(1));
}

TEST(OwnObjects, AreNotOfKindsThatNoAttemptMakes) {
  EXPECT_THAT(
      left_of({nameless(ObjectClass::data), nameless(ObjectClass::secret_key), nameless(ObjectClass::other)}),
      testing::IsEmpty());
}

TEST(OwnObjects, AreNotWhatLooksAsOneDidBefore) {
  for (ObjectClass object_class : {ObjectClass::private_key, ObjectClass::unfinished}) {
    ObjectIdentity vendors = nameless(object_class);
    EXPECT_THAT(left_of({vendors}, {vendors}), testing::IsEmpty());
    EXPECT_THAT(left_of({vendors, vendors}, {vendors}), testing::IsEmpty());
  }
  ObjectIdentity vendors = nameless(ObjectClass::public_key, "aa");
  EXPECT_THAT(left_of({vendors, nameless(ObjectClass::public_key, "bb")}, {vendors}),
              testing::ElementsAre(1));
}

}  // namespace
}  // namespace fleetroot::station
