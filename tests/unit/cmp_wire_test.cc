// What we write and read of CMP, with OpenSSL's own implementation on the other side.
#include <gmock/gmock.h>

#include "tests/unit/stock_cmp.h"

namespace fleetroot::cmp {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

Bytes hash_of(const Certificate& certificate) {
  using OctetStringPtr = std::unique_ptr<ASN1_OCTET_STRING, FreeWith<ASN1_OCTET_STRING_free>>;
  OctetStringPtr hash(X509_digest_sig(certificate.x509(), nullptr, nullptr));
  const unsigned char* octets = ASN1_STRING_get0_data(hash.get());
  return {octets, octets + ASN1_STRING_length(hash.get())};
}

void not_this_one(const Enrolled& /*enrolled*/) {
  throw Error(ErrorCode::certificate_rejected, "its CN is another", "hold the device");
}

class CmpWire : public CmpTest {
 protected:
  // Every message of ours is a PKIMessage to OpenSSL, and the same octets when OpenSSL writes it.
  static void expect_readable(const std::vector<Bytes>& messages) {
    for (const Bytes& message : messages) {
      CmpMessagePtr parsed = parse_stock_message(message);
      EXPECT_EQ(to_der(i2d_OSSL_CMP_MSG, static_cast<const OSSL_CMP_MSG*>(parsed.get())), message);
      EXPECT_EQ(OSSL_CMP_MSG_get_bodytype(parsed.get()), static_cast<int>(parse_message(message).type));
    }
  }
};

TEST_F(CmpWire, IsReadAndWrittenAlikeByOpenSsl) {
  enroll(station);
  EXPECT_THROW(enroll(station, not_this_one), Error);
  EXPECT_THROW(enroll(other_station), Error);
  answers.push_back(responder.respond(sent.at(1)));  // a second confirmation: an error message
  ASSERT_EQ(sent.size(), 5U);
  ASSERT_EQ(answers.size(), 6U);
  expect_readable(sent);
  expect_readable(answers);
}

// What of a messageTime is read: exactly what X.690 section 11.7 has of whole seconds.
TEST_F(CmpWire, ReadsATimeThatSaysWholeSecondsInUtc) {
  enroll(station);
  Bytes original = sent.at(0);
  Bytes tag = der::generalized_time(parse_message(original).header.message_time.value());
  auto found = std::search(original.begin(), original.end(), tag.begin(), tag.end());
  ASSERT_NE(found, original.end());
  auto time_of = [&](std::string_view text) {
    Bytes changed = original;
    std::copy(text.begin(), text.end(), changed.begin() + (found - original.begin()) + 2);
    return parse_message(changed).header.message_time;
  };
  EXPECT_EQ(time_of("20261124050607Z"), parse_time("2026-11-24T05:06:07Z"));
  for (const char* none : {"20261324050607Z", "20261124050607+", "2026112405060Z ", "2026112405.607Z"})
    EXPECT_FALSE(time_of(none)) << none;
}

class ClientOfStockServer : public CmpWire, public testing::WithParamInterface<KeyAlgorithm> {
 protected:
  ClientOfStockServer() {
    ca = make_ca("Factory CA", GetParam());
    station = make_station("st-01", ca, GetParam());
  }
  StockServer server{ca, station, digest_for(KeyAlgorithm::p256)};
  Client client = make_client(station, [this](BytesView message) { return server.respond(message); });
};

TEST_P(ClientOfStockServer, EnrollsAndConfirms) {
  Enrolled enrolled = client.enroll(request, [](const Enrolled&) {});
  EXPECT_EQ(enrolled.certificate, server.issued);
  EXPECT_EQ(enrolled.chain, std::vector<Certificate>{ca.certificate});
  EXPECT_EQ(server.confirmed_hash, hash_of(*server.issued));
  EXPECT_THAT(server.confirmed_status, StartsWith("PKIStatus: accepted"));
}

TEST_P(ClientOfStockServer, SaysThatItRejects) {
  EXPECT_THROW(client.enroll(request, not_this_one), Error);
  EXPECT_EQ(server.confirmed_hash, hash_of(*server.issued));
  EXPECT_THAT(server.confirmed_status, StartsWith("PKIStatus: rejection"));
  EXPECT_THAT(server.confirmed_status,
              HasSubstr("its CN is another. hold the device [certificate_rejected]"));
}

TEST_P(ClientOfStockServer, HearsARefusal) {
  server.refusal = "not you";
  Error heard = refusal_of([&] { client.enroll(request, [](const Enrolled&) { FAIL() << "was asked"; }); });
  EXPECT_EQ(heard.code(), ErrorCode::bad_request) << "badPOP";
  EXPECT_THAT(heard.cause(), HasSubstr("not you"));
}

INSTANTIATE_TEST_SUITE_P(All, ClientOfStockServer,
                         testing::Values(KeyAlgorithm::p256, KeyAlgorithm::p384, KeyAlgorithm::rsa2048,
                                         KeyAlgorithm::rsa3072),
                         [](const auto& test) { return std::string(name_of(test.param)); });

}  // namespace
}  // namespace fleetroot::cmp
