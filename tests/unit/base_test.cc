// Errors, names, configuration, secrets and bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/config.h"
#include "lib/base/error.h"
#include "lib/base/memo.h"
#include "lib/base/names.h"
#include "lib/base/printable.h"
#include "lib/base/secret.h"
#include "lib/base/strict_json.h"
#include "tests/expect_error.h"
#include "tests/scratch_directory.h"

namespace fleetroot {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::vector<ErrorCode> every_code() {
  std::vector<ErrorCode> codes;
  for (int i = 0; i <= static_cast<int>(ErrorCode::clock); ++i) codes.push_back(static_cast<ErrorCode>(i));
  return codes;
}

TEST(Printable, TextStaysAsItIs) {
  for (std::string text :
       {"", "stick/st-01.000001.request", "a\\b \"c\"", "Größe Łódź 東京 🙂", "\u00a0\ud7ff\ue000"})
    EXPECT_EQ(printable(text), text);
}

TEST(Printable, WhatATerminalObeysDoesNotReachIt) {
  EXPECT_EQ(printable("\x1b[2Ja\nb\rc\td\x7f"), "\\x1b[2Ja\\x0ab\\x0dc\\x09d\\x7f");
  EXPECT_EQ(printable(std::string_view("\0.", 2)), "\\x00.");
  EXPECT_EQ(printable("\u009b31m \u0080 \u009f"), "\\xc2\\x9b31m \\xc2\\x80 \\xc2\\x9f");
}

TEST(Printable, WhatIsNoUtf8IsShownByteByByte) {
  EXPECT_EQ(printable("\x9b\xff"), "\\x9b\\xff");                             // alone
  EXPECT_EQ(printable("\xc3(\xc3"), "\\xc3(\\xc3");                           // cut short
  EXPECT_EQ(printable("\xc0\x8a"), "\\xc0\\x8a");                             // a line end, written too long
  EXPECT_EQ(printable("\xe0\x82\x9b"), "\\xe0\\x82\\x9b");                    // C1, written too long
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");                    // half a surrogate pair
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");           // above U+10FFFF
  EXPECT_EQ(printable("\xf8\x88\x80\x80\x80"), "\\xf8\\x88\\x80\\x80\\x80");  // five bytes
}

TEST(ErrorTable, EveryCodeHasANameOfItsOwnThatLeadsBackToIt) {
  std::set<std::string_view> names;
  for (ErrorCode code : every_code()) {
    EXPECT_FALSE(name_of(code).empty());
    EXPECT_EQ(error_code_from_name(name_of(code)), code);
    names.insert(name_of(code));
  }
  EXPECT_EQ(names.size(), every_code().size());
}

TEST(ErrorTable, EveryExitCodeIsOneThatScriptsAreTold) {
  const std::set<int> documented{64, 65, 69, 70, 73, 74, 75, 76, 77, 78};
  std::set<int> used;
  for (ErrorCode code : every_code()) used.insert(exit_code(code));
  EXPECT_EQ(used, documented);
}

TEST(ErrorTable, OnlyExitCode75AsksForAnotherTry) {
  for (ErrorCode code : every_code()) EXPECT_EQ(is_retryable(code), exit_code(code) == 75) << name_of(code);
  EXPECT_TRUE(is_retryable(ErrorCode::token_unplugged));
  EXPECT_FALSE(is_retryable(ErrorCode::pin_wrong));
}

TEST(ErrorTable, AnUnknownNameFromAPeerIsARefusal) {
  EXPECT_EQ(error_code_from_name("made_up"), ErrorCode::refused_by_ca);
  EXPECT_EQ(error_code_from_name(""), ErrorCode::refused_by_ca);
}

TEST(ErrorTable, WhatSaysTheCauseInBrackets) {
  EXPECT_STREQ(Error(ErrorCode::io, "it broke", "mend it", "ENOSPC").what(), "it broke (ENOSPC)");
  EXPECT_STREQ(Error(ErrorCode::io, "it broke", "mend it").what(), "it broke");
  EXPECT_EQ(system_error(ErrorCode::io, "it broke", "mend it", ENOSPC).cause(), "No space left on device");
}

TEST(Names, AcceptsWhatAPathAndAQueryCanCarry) {
  for (const char* text : {"PO-4711", "a", "7", "st_01.b", "A-._"}) {
    EXPECT_EQ(OrderId::parse(text).text(), text);
  }
  EXPECT_EQ(OrderId::parse(std::string(64, 'x')).text().size(), 64U);
}

TEST(Names, RefusesWhatCouldBeTakenForSomethingElse) {
  const std::vector<std::string> bad{"",         std::string(65, 'x'),
                                     "-x",       ".",
                                     "..",       ".hidden",
                                     "_x",       "a/b",
                                     "a b",      " a",
                                     "a\n",      "a'",
                                     "a\"",      "a;b",
                                     "\xc3\xa9", std::string("a\0b", 3),
                                     "a%b",      "a\\b",
                                     "a:b"};
  for (const std::string& text : bad) {
    EXPECT_EQ(code_of([&] { StationName::parse(text); }), ErrorCode::usage) << text;
  }
  EXPECT_THAT(error_of([] { StationName::parse("a b"); }).message(), HasSubstr("station"));
}

ConfigFile config(std::string_view text) {
  return ConfigFile::parse(text, "ca.toml");
}

TEST(Config, ReadsWhatItIsAskedFor) {
  ConfigFile file =
      config("name = \"x\"\n[token]\nuri = \"u\"\ntries = 3\nfast = true\nlist = [\"a\", \"b\"]\n");
  EXPECT_EQ(file.required_string("name"), "x");
  EXPECT_EQ(file.string("token.uri"), "u");
  EXPECT_EQ(file.integer("token.tries"), 3);
  EXPECT_EQ(file.boolean("token.fast"), true);
  EXPECT_EQ(file.strings("token.list"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(file.string("token.absent"), std::nullopt);
  EXPECT_NO_THROW(file.refuse_unknown_keys());
}

TEST(Config, AStringThatWasWrittenIsReadBack) {
  std::string text = "quote \" backslash \\ newline \n tab \t escape \x1b delete \x7f ümlaut";
  EXPECT_EQ(ConfigFile::parse("key = " + toml_string(text), "x").string("key"), text);
}

TEST(Config, AnUnknownKeyNamesTheNearestKnownOne) {
  ConfigFile file = config("[token]\nurii = \"u\"\n");
  file.string("token.uri");
  file.string("name");
  Error error = error_of([&] { file.refuse_unknown_keys(); });
  EXPECT_EQ(error.code(), ErrorCode::configuration);
  EXPECT_THAT(error.message(), AllOf(HasSubstr("ca.toml"), HasSubstr("token.urii")));
  EXPECT_THAT(error.hint(), HasSubstr("token.uri?"));
}

TEST(Config, OnlyAKeyThatLooksLikeItIsSuggested) {
  auto hint_for = [](const std::string& key) {
    ConfigFile file = config((key + " = 1\n").c_str());
    for (const char* known : {"bay", "ca", "name", "ca_timeout_seconds"}) file.string(known);
    return error_of([&] { file.refuse_unknown_keys(); }).hint();
  };
  for (const char* key : {"xyzzyfoobar", "colour"})
    EXPECT_EQ(hint_for(key), "correct its name, or remove it") << key;
  EXPECT_EQ(hint_for("bya"), "did you mean bay?");
  EXPECT_EQ(hint_for("ca_timeout"), "did you mean ca_timeout_seconds?");
}

TEST(Config, NoKeyOfAnotherTableIsSuggested) {
  ConfigFile file = config("[a.one]\nkey = \"1\"\n[a.two]\nkey = \"2\"\n");
  file.string("a.one.key");
  Error error = error_of([&] { file.refuse_unknown_keys(); });
  EXPECT_THAT(error.message(), HasSubstr("a.two.key is not a known key"));
  EXPECT_THAT(error.hint(), Not(HasSubstr("a.one")));
  EXPECT_EQ(file.tables_in("a"), (std::vector<std::string>{"one", "two"}));
  EXPECT_TRUE(file.tables_in("a.one").empty());
  EXPECT_TRUE(file.tables_in("b").empty());
}

TEST(Config, AKeyThatOnlyLooksKnownIsUnknown) {
  // In TOML "token.uri" in quotes is one key with a dot in it, not the key uri of the table token.
  for (const char* text : {"\"token.uri\" = \"u\"\n", "[[token]]\nuri = \"u\"\n", "token = \"u\"\n"}) {
    ConfigFile file = config(text);
    EXPECT_EQ(file.string("token.uri"), std::nullopt);
    EXPECT_EQ(code_of([&] { file.refuse_unknown_keys(); }), ErrorCode::configuration) << text;
  }
}

TEST(Config, TablesOfAnArrayAreCountedAndReadByNumber) {
  ConfigFile file = config("[[bay]]\nname = \"1\"\n[[bay]]\nname = \"2\"\ncolour = \"red\"\n");
  EXPECT_EQ(file.tables("bay"), 2);
  EXPECT_EQ(file.tables("gate"), 0);
  EXPECT_EQ(file.string("bay[0].name"), "1");
  EXPECT_EQ(file.string("bay[1].name"), "2");
  EXPECT_THAT(error_of([&] { file.refuse_unknown_keys(); }).message(), HasSubstr("bay[1].colour"));
  for (const char* text : {"bay = 1\n", "bay = [1]\n", "[bay]\nname = \"1\"\n"})
    EXPECT_EQ(code_of([&] { config(text).tables("bay"); }), ErrorCode::configuration) << text;
}

TEST(Config, TablesThatNobodyAskedForAreUnknown) {
  for (const char* text : {"[[bays]]\n", "[[bays]]\nname = \"1\"\n", "[\"bay[0]\"]\nname = \"1\"\n"}) {
    ConfigFile file = config(text);
    file.tables("bay");
    file.string("bay[0].name");
    EXPECT_EQ(code_of([&] { file.refuse_unknown_keys(); }), ErrorCode::configuration) << text;
  }
}

TEST(Config, AnEmptyTableIsKnownOnlyWhereItMayHaveKeys) {
  for (const char* text : {"[token]\n", "token = {}\n"}) {
    ConfigFile file = config(text);
    file.string("token.uri");
    EXPECT_NO_THROW(file.refuse_unknown_keys()) << text;
  }
  for (const char* text : {"[tok]\n", "[token.uri]\n", "[token.uri.x]\n", "[\"token.\"]\n", "[token.u]\n"}) {
    ConfigFile file = config(text);
    EXPECT_EQ(code_of([&] {
                file.string("token.uri");
                file.refuse_unknown_keys();
              }),
              ErrorCode::configuration)
        << text;
  }
}

TEST(Config, AWrongTypeIsRefusedByName) {
  ConfigFile file = config("a = \"1\"\nb = 1\nc = [1]\n");
  EXPECT_EQ(error_of([&] { file.integer("a"); }).message(), "ca.toml: a must be a whole number");
  EXPECT_EQ(error_of([&] { file.string("b"); }).message(), "ca.toml: b must be a string");
  EXPECT_EQ(error_of([&] { file.boolean("b"); }).message(), "ca.toml: b must be true or false");
  EXPECT_EQ(code_of([&] { file.boolean("b"); }), ErrorCode::configuration);
  EXPECT_EQ(code_of([&] { file.strings("a"); }), ErrorCode::configuration);
  EXPECT_EQ(code_of([&] { file.strings("c"); }), ErrorCode::configuration);
  EXPECT_THAT(error_of([&] { file.required_string("d"); }).message(), HasSubstr("missing"));
}

TEST(Config, WhatTomlCannotHoldIsNotWritten) {
  for (const char* text : {"\xff", "a\xc3", "\xed\xa0\x80", "\xc0\xaf"})
    EXPECT_EQ(code_of([&] { toml_string(text); }), ErrorCode::usage) << text;
}

TEST(Config, WhatIsNoTomlIsRefusedWithItsLine) {
  EXPECT_THAT(error_of([] { config("a = 1\nb = \n"); }).message(), HasSubstr("ca.toml:2"));
  EXPECT_EQ(code_of([] { config("a = 1\na = 2\n"); }), ErrorCode::configuration);
  EXPECT_EQ(code_of([] { config("a = \"\xff\"\n"); }), ErrorCode::configuration);
}

TEST(Config, ABracketThatOpensNothingIsRefusedWithItsLine) {
  for (const char* line : {"[", "[[", "[[[", "[.a]", "[[.", "[[=", "[=]", "[]", "a = [", "[a", "[[a]"}) {
    Error error = error_of([&] { config(std::string("a = 1\n") + line + "\n"); });
    EXPECT_EQ(error.code(), ErrorCode::configuration) << line;
    EXPECT_THAT(error.message(), HasSubstr("ca.toml:")) << line;
  }
}

TEST(Config, AFileThatIsNotThereOrNoFileIsAConfigurationError) {
  ScratchDirectory directory;
  EXPECT_EQ(code_of([&] { ConfigFile::read(directory / "ca.toml"); }), ErrorCode::configuration);
  EXPECT_EQ(code_of([&] { ConfigFile::read(directory.path()); }), ErrorCode::configuration);
}

TEST(Secrets, HoldWhatTheyAreGiven) {
  Secret secret{std::string_view("1234")};
  EXPECT_EQ(secret.view(), "1234");
  Secret moved = std::move(secret);
  EXPECT_EQ(moved.view(), "1234");
  EXPECT_TRUE(Secret().empty());
  static_assert(!std::is_copy_constructible_v<Secret> && !std::is_copy_assignable_v<Secret>);
}

TEST(Secrets, HaveALimit) {
  EXPECT_EQ(Secret(std::string(Secret::kMaximumSize, 'x')).size(), Secret::kMaximumSize);
  EXPECT_EQ(code_of([] { Secret(std::string(Secret::kMaximumSize + 1, 'x')); }), ErrorCode::usage);
}

TEST(Secrets, WipeLeavesZeros) {
  std::string text = "1234";
  wipe(text.data(), text.size());
  EXPECT_EQ(text, std::string(4, '\0'));
}

TEST(Secrets, AreWipedHoweverTheirPlaceIsLeft) {
  Bytes secret{1, 2};
  Bytes open{1, 2};
  auto fail = [&] {
    Wiping wiping(secret);
    Wiping leaving(open, false);
    throw Error(ErrorCode::io, "no", "");
  };
  EXPECT_EQ(code_of(fail), ErrorCode::io);
  EXPECT_EQ(secret, (Bytes{0, 0}));
  EXPECT_EQ(open, (Bytes{1, 2}));
  auto hand_out = [] {
    Bytes bytes{1, 2};
    Wiping wiping(bytes);
    return std::optional<Bytes>(std::move(bytes));
  };
  EXPECT_EQ(hand_out(), (Bytes{1, 2})) << "it is whole where it went";
}

TEST(Hex, GoesThereAndBack) {
  Bytes all(256);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint8_t>(i);
  EXPECT_EQ(from_hex(to_hex(all)), all);
  EXPECT_EQ(to_hex(Bytes{0x0a, 0xff}), "0aff");
  EXPECT_EQ(from_hex("0AfF"), (Bytes{0x0a, 0xff}));
  EXPECT_EQ(from_hex(""), Bytes{});
  for (const char* bad : {"0", "0g", "g0", " 00", "0x00", "00 "})
    EXPECT_EQ(from_hex(bad), std::nullopt) << bad;
}

TEST(Hex, EqualComparesLengthsToo) {
  EXPECT_TRUE(equal(Bytes{1, 2}, Bytes{1, 2}));
  EXPECT_FALSE(equal(Bytes{1, 2}, Bytes{1, 2, 3}));
  EXPECT_FALSE(equal(Bytes{1, 2, 3}, Bytes{1, 2}));
}

TEST(Times, AreWrittenInUtc) {
  EXPECT_EQ(format_time(Time(std::chrono::seconds(1'795'496'767))), "2026-11-24T05:06:07Z");
  EXPECT_EQ(format_time(Time(std::chrono::seconds(253'402'300'799))), "9999-12-31T23:59:59Z");
}

std::string repeated(std::size_t times, const std::string& text) {
  std::string all;
  for (std::size_t i = 0; i < times; ++i) all += text;
  return all;
}

std::string list_of(std::size_t count, const std::string& item) {
  return "[" + repeated(count - 1, item + ",") + item + "]";
}

std::string object_of(std::size_t count) {
  std::string members = R"({"0":0)";
  for (std::size_t i = 1; i < count; ++i) members += ",\"" + std::to_string(i) + "\":0";
  return members + "}";
}

std::string why_refused(const std::string& json) {
  Error error = error_of([&] { (void)parse_strict_json(json); });
  EXPECT_EQ(error.code(), ErrorCode::bad_request);
  return error.message();
}

TEST(StrictJson, ReadsWhatIsWritten) {
  const std::string text = R"({"b":[1,-1,1.5,true,null,"ü"],"a":{"b":{}},"c":{"b":[]}})";
  EXPECT_EQ(parse_strict_json(text).dump(), text) << "in the order in which it is written";
}

TEST(StrictJson, WhatIsNoJsonIsDiscarded) {
  for (const char* text : {"", "{", "[1,]", "{}x", "{\"a\":\"\xff\"}", "{'a':1}", "[1e999]"})
    EXPECT_TRUE(parse_strict_json(text).is_discarded()) << text;
}

// What the library reads past by itself (RFC 8259 sections 2 and 8.1).
TEST(StrictJson, IsTheWholeText) {
  const std::string nul(1, '\0');
  for (const std::string& text :
       {R"({"a":1})" + nul, R"({"a":1})" + nul + R"({"a":2} garb)", nul + "{}", R"({"a":)" + nul + "1}",
        R"({"a":"x)" + nul + R"("})", std::string("\xef\xbb\xbf{}"), std::string("\xef\xbb\xbf")})
    EXPECT_TRUE(parse_strict_json(text).is_discarded()) << text;
  EXPECT_EQ(parse_strict_json(R"({"a":"\u0000\ufeff"})").dump(), "{\"a\":\"\\u0000\xef\xbb\xbf\"}");
}

TEST(StrictJson, NamesAreThereOnce) {
  EXPECT_EQ(why_refused(R"({"a":1,"b":2,"a":3})"), "a: is there twice");
  EXPECT_EQ(why_refused(R"([{"x":{"a":1,"\u0061":1}}])"), "a: is there twice");
  EXPECT_EQ(parse_strict_json(R"([{"a":{"a":1}},{"a":2}])").size(), 2U);
}

TEST(StrictJson, HasBounds) {
  const std::size_t deep = kMaximumJsonDepth;
  EXPECT_TRUE(parse_strict_json(repeated(deep, "[") + repeated(deep, "]")).is_array());
  EXPECT_THAT(why_refused(repeated(deep + 1, "[") + repeated(deep + 1, "]")), HasSubstr("32 levels deep"));
  EXPECT_EQ(parse_strict_json(object_of(kMaximumJsonMembers)).size(), kMaximumJsonMembers);
  EXPECT_THAT(why_refused(object_of(kMaximumJsonMembers + 1)), HasSubstr("more than 1000 members"));
  for (const char* item : {"{}", "[]", "0", "-1", "1.5", "\"\"", "null", "true"}) {
    EXPECT_EQ(parse_strict_json(list_of(kMaximumJsonValues - 1, item)).size(), kMaximumJsonValues - 1);
    EXPECT_THAT(why_refused(list_of(kMaximumJsonValues, item)), HasSubstr("more than 100000 values")) << item;
  }
}

// Beyond a bound nothing is read, not even to see whether it is JSON.
TEST(StrictJson, EndsAtItsBounds) {
  EXPECT_THAT(why_refused(repeated(1'000'000, "[")), HasSubstr("levels"));
}

TEST(Memo, MakesOnceWhatItIsAskedForAgain) {
  Memo<std::string> memo;
  int made = 0;
  auto make = [&](const std::string& source) {
    return memo.get(source, [&] {
      ++made;
      return "from " + source;
    });
  };
  EXPECT_EQ(make("a"), "from a");
  EXPECT_EQ(make("b"), "from b");
  EXPECT_EQ(make("a"), "from a");
  EXPECT_EQ(made, 2);
  EXPECT_THROW(memo.get("c", []() -> std::string { throw Error(ErrorCode::io, "no", ""); }), Error);
  EXPECT_EQ(make("c"), "from c") << "a failure is not remembered";
  for (std::size_t i = 0; i < Memo<std::string>::kMaximum; ++i) make(std::to_string(i));
  made = 0;
  EXPECT_EQ(make("a"), "from a");
  EXPECT_EQ(made, 1) << "it does not grow for ever";
}

}  // namespace
}  // namespace fleetroot
