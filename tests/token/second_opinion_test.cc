// libp11's own way of signing, which shares no line with ours, agrees about the keys that we make.
#include <libp11.h>
#include <openssl/evp.h>

#include "tests/token/token_directory.h"

namespace fleetroot::pkcs11 {
namespace {

class SecondOpinion : public TokenTest, public testing::WithParamInterface<KeyAlgorithm> {};

using ContextPtr = std::unique_ptr<PKCS11_CTX, FreeWith<PKCS11_CTX_free>>;

TEST_P(SecondOpinion, SignsWithTheKeyAndIsVerifiedByThePublicHalf) {
  PublicKey public_key = [&] {
    SigningKey key = SigningKey::generate(settings_, GetParam(), {KeyId::parse("01"), "identity"});
    return key.public_key();
  }();

  ContextPtr context(PKCS11_CTX_new());
  ASSERT_EQ(PKCS11_CTX_load(context.get(), module_path().c_str()), 0);
  PKCS11_SLOT* slots = nullptr;
  unsigned int slot_count = 0;
  ASSERT_EQ(PKCS11_enumerate_slots(context.get(), &slots, &slot_count), 0);
  PKCS11_SLOT* slot = PKCS11_find_token(context.get(), slots, slot_count);
  ASSERT_NE(slot, nullptr);
  ASSERT_EQ(PKCS11_open_session(slot, 1), 0);
  ASSERT_EQ(PKCS11_login(slot, 0, pin().c_str()), 0) << take_openssl_errors();
  PKCS11_KEY* keys = nullptr;
  unsigned int key_count = 0;
  ASSERT_EQ(PKCS11_enumerate_keys(slot->token, &keys, &key_count), 0);
  ASSERT_EQ(key_count, 1U);
  EXPECT_STREQ(keys[0].label, "identity");

  Bytes signature(1024);
  {
    // Freed before the module is unloaded.
    EvpPkeyPtr key(PKCS11_get_private_key(&keys[0]));
    ASSERT_TRUE(key);
    EvpMdCtxPtr signing(EVP_MD_CTX_new());
    std::size_t size = signature.size();
    ASSERT_EQ(EVP_DigestSignInit(signing.get(), nullptr, digest_for(GetParam()), nullptr, key.get()), 1);
    ASSERT_EQ(EVP_DigestSign(signing.get(), signature.data(), &size, as_bytes("m").data(), 1), 1)
        << take_openssl_errors();
    signature.resize(size);
  }
  EXPECT_TRUE(public_key.verifies(as_bytes("m"), signature));
  EXPECT_FALSE(public_key.verifies(as_bytes("n"), signature));
  PKCS11_release_all_slots(context.get(), slots, slot_count);
  PKCS11_CTX_unload(context.get());
}

INSTANTIATE_TEST_SUITE_P(LibP11, SecondOpinion,
                         testing::Values(KeyAlgorithm::p256, KeyAlgorithm::p384, KeyAlgorithm::rsa2048),
                         [](const auto& kind) { return std::string(name_of(kind.param)); });

}  // namespace
}  // namespace fleetroot::pkcs11
