// Every octet of every message of a transaction, changed. Nothing crashes, and whatever is still believed
// means what it meant: the extraCerts, for one, are covered by no signature, and mean nothing.
#include "tests/unit/cmp_fixture.h"

namespace fleetroot::cmp {
namespace {

Bytes changed(const Bytes& message, std::size_t position, unsigned mask) {
  Bytes result = message;
  result[position] ^= static_cast<std::uint8_t>(mask);
  return result;
}

// Two single bits and all bits of an octet, other bits at other octets.
std::vector<unsigned> masks_at(std::size_t position) {
  return {1U << position % 8, 1U << (position + 5) % 8, 0xffU};
}

class CmpFuzz : public CmpTest {
 protected:
  // Where what is signed ends: before the extraCerts' own two heads (a1 82 …, 30 82 …) and the first of them.
  std::size_t end_of_signed_part(const Bytes& message) {
    std::size_t first_certificate = as_text(message).find(as_text(station.certificate.der()));
    EXPECT_NE(first_certificate, std::string_view::npos);
    EXPECT_EQ(message.at(first_certificate - 8), 0xa1);
    return first_certificate - 8;
  }
  // False if the bytes are no message any more.
  static bool is_answered(Responder& by, const Bytes& message) {
    try {
      by.respond(message);
      return true;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::protocol) << error.what();
      return false;
    }
  }
};

TEST_F(CmpFuzz, ChangedRequestsAreRefusedOrMeanTheSame) {
  enroll(station);
  Bytes original = sent.at(0);
  Bytes transaction_id = parse_message(original).header.transaction_id;
  authority.issued.clear();
  int believed = 0;
  int answered = 0;
  std::size_t signed_size = end_of_signed_part(original);
  authority.issuing = [&](const Sender& sender, const CertificateRequest& asked) {
    ++believed;
    EXPECT_EQ(sender.name, "st-01");
    EXPECT_EQ(asked.der(), request.der());
    throw Error(ErrorCode::order_closed, "not today", "come back");
  };
  int believed_of_signed_part = 0;
  for (std::size_t position = 0; position < original.size(); ++position) {
    for (unsigned mask : masks_at(position)) {
      if (is_answered(responder, changed(original, position, mask))) ++answered;
    }
    if (position + 1 == signed_size) believed_of_signed_part = believed;
  }
  EXPECT_GT(answered, 100);
  EXPECT_EQ(believed_of_signed_part, 0);
  EXPECT_GT(believed, 100);  // changed certificates that nobody needs: the authority has the station's own
  EXPECT_TRUE(authority.issued.empty());
  EXPECT_EQ(authority.outcomes.size(), 1U);
}

TEST_F(CmpFuzz, ChangedConfirmationsConfirmNothing) {
  int messages = 0;
  Client client = make_client(station, [&](BytesView view) {
    Bytes message(view.begin(), view.end());
    if (++messages == 2) {
      std::size_t signed_size = end_of_signed_part(message);
      for (std::size_t position = 0; position < signed_size; ++position) {
        for (unsigned mask : masks_at(position)) is_answered(responder, changed(message, position, mask));
        EXPECT_TRUE(authority.outcomes.empty()) << position;
      }
    }
    return responder.respond(message);
  });
  client.enroll(request, [](const Enrolled&) {});
  ASSERT_EQ(authority.outcomes.size(), 1U);
  EXPECT_TRUE(authority.outcomes[0].accepted);
  EXPECT_EQ(authority.issued.size(), 1U);
}

TEST_F(CmpFuzz, ChangedAnswersAreDisbelievedOrMeanTheSame) {
  std::size_t size = 1;
  int accepted = 0;
  int refused = 0;
  for (std::size_t position = 0; position < size; ++position) {
    int messages = 0;
    Client client = make_client(station, [&](BytesView message) {
      Bytes answer = responder.respond(message);
      size = std::max(size, answer.size());
      return ++messages == 1 && position < answer.size()
                 ? changed(answer, position, masks_at(position)[position % 3])
                 : answer;
    });
    try {
      client.enroll(request, [&](const Enrolled& enrolled) {
        EXPECT_EQ(enrolled.certificate, authority.issued.back()) << position;
      });
      ++accepted;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::protocol) << position << ": " << error.what();
      ++refused;
    }
  }
  EXPECT_GT(accepted, 100);
  EXPECT_GT(refused, 500);
}

TEST_F(CmpFuzz, TruncatedMessagesAreNoMessages) {
  enroll(station);
  for (const Bytes& message : sent) {
    for (std::size_t size = 0; size < message.size(); ++size) {
      EXPECT_FALSE(is_answered(responder, Bytes(message.begin(), message.begin() + static_cast<long>(size))));
    }
  }
}

}  // namespace
}  // namespace fleetroot::cmp
