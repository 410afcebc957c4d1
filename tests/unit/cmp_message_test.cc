// What a PKIMessage's outer shape may be, and how a refusal is spelled.
#include <unistd.h>

#include <array>

#include "lib/base/process.h"
#include "tests/unit/cmp_fixture.h"

namespace fleetroot::cmp {
namespace {

using std::chrono::steady_clock;

Bytes bytes(std::string_view hex) {
  return *from_hex(hex);
}

ErrorCode code_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "nothing was refused";
  return ErrorCode::internal;
}

// header { 2, [4] {}, [4] {}, senderKID 0102, transactionID 0304 }, body [19] NULL
constexpr std::string_view kMessage = "30193013020102a400a400a20404020102a40404020304b3020500";

TEST(CmpHeader, FindsSenderAndTransaction) {
  Bytes whole = bytes(kMessage);
  Header header = parse_message(whole).header;
  EXPECT_EQ(header.sender_key_id, bytes("0102"));
  EXPECT_EQ(header.transaction_id, bytes("0304"));
  Bytes small = bytes("300d3007020102a400a400b3020500");
  Header bare = parse_message(small).header;
  EXPECT_TRUE(bare.sender_key_id.empty());
  EXPECT_TRUE(bare.transaction_id.empty());
}

TEST(CmpHeader, TakesExactlyOneDerMessage) {
  const std::array<std::pair<std::string_view, const char*>, 14> kBad{{
      {"", "nothing"},
      {"30", "no length"},
      {"31193013020102a400a400a20404020102a40404020304b3020500", "a set"},
      {"30193013020102a400a400a20404020102a40404020304b302050000", "a trailing byte"},
      {"30193013020102a400a400a20404020102a40404020304b30205", "a byte missing"},
      {"30803013020102a400a400a20404020102a40404020304b30205000000", "an indefinite length"},
      {"3081193013020102a400a400a20404020102a40404020304b3020500", "a length longer than needed"},
      {"308200193013020102a400a400a20404020102a40404020304b3020500", "a length with a leading zero"},
      {"3084000000193013020102a400a400a20404020102a40404020304b3020500", "a length of four octets"},
      {"30153013020102a400a400a20404020102a40404020304", "no body"},
      {"30193013020102a400a400a20404020102a4040402030404020500", "no context tag as its body"},
      {"30193013020102a400a400a20404020102a20404020304b3020500", "senderKID twice"},
      {"30193013020102a400a400a40404020304a20404020102b3020500", "fields out of order"},
      {"30193013020102a400a400a20404020102a40402020304b3020500", "a transaction ID that is a number"},
  }};
  for (const auto& [hex, why] : kBad) {
    EXPECT_EQ(code_of([&, text = hex] { parse_message(bytes(text)); }), ErrorCode::protocol) << why;
  }
}

TEST(CmpHeader, ReadsNoPrefixOfAMessageAsAMessage) {
  Bytes whole = bytes(kMessage);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_EQ(code_of([&] { parse_message(BytesView(whole).first(size)); }), ErrorCode::protocol) << size;
  }
}

TEST(CmpHeader, RefusesWhatIsTooLong) {
  Bytes large(kMaximumMessageSize + 1, 0);
  large[0] = 0x30;
  large[1] = 0x83;
  large[2] = 0x00 + static_cast<std::uint8_t>((large.size() - 5) >> 16);
  large[3] = static_cast<std::uint8_t>((large.size() - 5) >> 8);
  large[4] = static_cast<std::uint8_t>(large.size() - 5);
  EXPECT_EQ(code_of([&] { parse_message(large); }), ErrorCode::protocol);
}

class Pipe {
 public:
  Pipe() {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    read_end_ = FileDescriptor(ends[0]);
    write_end_ = FileDescriptor(ends[1]);
  }
  void write(BytesView content) { EXPECT_TRUE(write_fully(write_end_.get(), content)); }
  void close() { write_end_ = {}; }
  std::optional<Bytes> read(steady_clock::time_point deadline = steady_clock::time_point::max()) {
    return read_message(read_end_.get(), deadline);
  }

 private:
  FileDescriptor read_end_;
  FileDescriptor write_end_;
};

TEST(CmpStream, ReadsMessageAfterMessageUntilItsEnd) {
  Pipe stream;
  Bytes long_form = bytes("308180");
  long_form.resize(3 + 128, 0x55);
  stream.write(bytes(kMessage));
  stream.write(long_form);
  stream.close();
  EXPECT_EQ(stream.read(), bytes(kMessage));
  EXPECT_EQ(stream.read(), long_form);
  EXPECT_EQ(stream.read(), std::nullopt);
}

TEST(CmpStream, RefusesWhatCannotBeAMessageWithoutReadingItAll) {
  for (std::string_view begin : {"47", "3080", "30830100", "3084000001", "3082fffd"}) {
    Pipe stream;
    stream.write(bytes(begin));
    EXPECT_EQ(code_of([&] { stream.read(); }), ErrorCode::protocol) << begin;
  }
}

TEST(CmpStream, RefusesAMessageThatStopsInTheMiddle) {
  for (std::size_t size : {std::size_t{1}, std::size_t{2}, kMessage.size() / 2 - 1}) {
    Pipe stream;
    stream.write(BytesView(bytes(kMessage)).first(size));
    stream.close();
    EXPECT_EQ(code_of([&] { stream.read(); }), ErrorCode::protocol) << size;
  }
}

TEST(CmpStream, GivesUpAtItsDeadline) {
  Pipe silent;
  EXPECT_EQ(code_of([&] { silent.read(steady_clock::now()); }), ErrorCode::ca_unreachable);
  silent.write(BytesView(bytes(kMessage)).first(5));
  EXPECT_EQ(code_of([&] { silent.read(steady_clock::now()); }), ErrorCode::ca_unreachable);
}

TEST(CmpRefusal, ReadsLikeASentence) {
  EXPECT_EQ(
      encode_refusal({ErrorCode::order_closed, "the order PO-1 is closed", "open another order", "SQL"}),
      "the order PO-1 is closed. open another order [order_closed]");
}

TEST(CmpRefusal, SurvivesAnyText) {
  const std::array<std::string, 16> kTexts{"",
                                           " ",
                                           ".",
                                           ". ",
                                           ". . ",
                                           "a. b. c",
                                           "ends.",
                                           "ends. ",
                                           "[usage]",
                                           " [usage]",
                                           "a [b] c. d [e]",
                                           "\\",
                                           "\\. ",
                                           "\\\\. \\0 \\",
                                           std::string("n\0l", 3),
                                           "Gerät ä. ö"};
  for (const std::string& message : kTexts) {
    for (const std::string& hint : kTexts) {
      Error sent(ErrorCode::key_reused, message, hint);
      Error heard = decode_refusal(encode_refusal(sent));
      EXPECT_EQ(heard.code(), sent.code()) << encode_refusal(sent);
      EXPECT_EQ(heard.message(), message);
      EXPECT_EQ(heard.hint(), hint);
      EXPECT_EQ(encode_refusal(sent).find('\0'), std::string::npos);
    }
  }
}

TEST(CmpRefusal, KeepsTheWordsOfOtherImplementations) {
  for (std::string text :
       {"no such profile", "no. really", "no [code]", "[usage]", "a. b [Usage]", "a. b []"}) {
    Error heard = decode_refusal(text);
    EXPECT_EQ(heard.code(), ErrorCode::refused_by_ca) << text;
    EXPECT_EQ(heard.message(), text);
    EXPECT_FALSE(heard.hint().empty());
  }
  EXPECT_FALSE(decode_refusal("").message().empty());
  EXPECT_EQ(decode_refusal("a. b [of_next_year]").code(), ErrorCode::refused_by_ca);
}

}  // namespace
}  // namespace fleetroot::cmp
