// The device IDs that an order admits by a pattern.
#include "factory-ca/device_pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/expect_error.h"

namespace fleetroot::ca {
namespace {

using testing::HasSubstr;

bool admits(const std::string& pattern, const std::string& id) {
  return DevicePattern::parse(pattern).matches(DeviceId::parse(id));
}

std::string refusal_of(const std::string& pattern) {
  Error error = error_of([&] { DevicePattern::parse(pattern); });
  EXPECT_EQ(error.code(), ErrorCode::usage) << pattern;
  EXPECT_FALSE(error.hint().empty());
  return error.message();
}

TEST(DevicePattern, MatchesTheWholeId) {
  EXPECT_TRUE(admits("1FLEET[0-9]{4}", "1FLEET0001"));
  EXPECT_FALSE(admits("1FLEET[0-9]{4}", "1FLEET00010"));
  EXPECT_FALSE(admits("1FLEET[0-9]{4}", "x1FLEET0001"));
  EXPECT_FALSE(admits("1FLEET[0-9]{4}", "1FLEET001"));
  EXPECT_FALSE(admits("1FLEET[0-9]{4}", "1fleet0001"));
}

TEST(DevicePattern, MatchesTheWholeIdInEachAlternative) {
  for (const char* pattern : {"dev-1|dev-2", "(dev-1)|(dev-2)", "dev-(1|2)"}) {
    EXPECT_TRUE(admits(pattern, "dev-1")) << pattern;
    EXPECT_TRUE(admits(pattern, "dev-2")) << pattern;
    EXPECT_FALSE(admits(pattern, "dev-10")) << pattern;
    EXPECT_FALSE(admits(pattern, "xdev-2")) << pattern;
  }
}

TEST(DevicePattern, RefusesBracketsThatDoNotPair) {
  for (const char* pattern :
       {"a)(b", "a)|b", "a)", ")", "(a", "a|(b", "(a))|((b", "[a", "a{", "a{1", "(a[)]"}) {
    refusal_of(pattern);
  }
  EXPECT_THAT(refusal_of("dev)|x"), HasSubstr("closes a bracket"));
}

TEST(DevicePattern, TakesBracketsThatAreCharacters) {
  EXPECT_FALSE(admits("a[)]", "a"));
  EXPECT_FALSE(admits("a\\)", "a"));
  EXPECT_TRUE(admits("([)]|dev)-1", "dev-1"));
}

TEST(DevicePattern, RefusesABackslashBeforeALetterOrDigit) {
  for (const char* pattern : {"\\d{4}", "(a)\\1", "\\w+", "dev\\b", "[\\d]"}) {
    EXPECT_THAT(refusal_of(pattern), HasSubstr("backslash")) << pattern;
  }
  EXPECT_TRUE(admits("dev\\.1", "dev.1"));
  EXPECT_FALSE(admits("dev\\.1", "dev-1"));
}

TEST(DevicePattern, RefusesWhatIsNotOneLine) {
  refusal_of("dev-1\ndev-2");
  refusal_of("\n");
  refusal_of(std::string("dev\0.*", 6));
}

TEST(DevicePattern, HasOneToTwoHundredCharacters) {
  refusal_of("");
  refusal_of(std::string(201, 'a'));
  EXPECT_TRUE(admits("a|" + std::string(198, 'b'), "a"));
}

TEST(DevicePattern, CountsToSixtyFourAtMost) {
  for (const char* pattern : {"a{65}", "a{1,65}", "a{99999999999}", "[{]a{65}", "[\\]{65}"}) {
    EXPECT_THAT(refusal_of(pattern), HasSubstr("beyond 64")) << pattern;
  }
  EXPECT_TRUE(admits("a{64}", std::string(64, 'a')));
  EXPECT_TRUE(admits("a{64,64}", std::string(64, 'a')));
  EXPECT_TRUE(admits("[0-9]{1,3}99", "99999"));
}

TEST(DevicePattern, DoesNotGrowBeyondItsDevices) {
  for (const char* pattern :
       {"((a{1,64}){1,64}){1,64}", "(((a{1,64}){1,64}){1,64}){1,64}", "a{32}{32}", "(a{16,}){64}",
        "((((((((((a+)+)+)+)+)+)+)+)+)+){2}", "((a|b|c|d|e|f|g|h){0,32}-){32}", "([])]{64}){64}",
        "([[:alpha:])]{64}){64}", "([\\]{64}){64}", "(\\({64}){64}"}) {
    EXPECT_THAT(refusal_of(pattern), HasSubstr("too large")) << pattern;
  }
  for (const char* pattern : {"((((a?){64}){64}){64}){64}", "((a*)*)*", "(a|b*){0,64}", "(a|){2}", "(){64}",
                              "(^a|$)*", "a*+", "a?{64}", "((((()))))+"}) {
    EXPECT_THAT(refusal_of(pattern), HasSubstr("may be nothing")) << pattern;
  }
  EXPECT_TRUE(admits("([0-9A-F]{2}:){7}[0-9A-F]{2}", "00:1A:7D:DA:71:13:00:01"));
  EXPECT_TRUE(admits("[A-Z]+(-[A-Z0-9]+)*", "A-1-B2"));
  EXPECT_TRUE(admits("([A-Z]{1,8}-){1,16}[0-9]?", "A-BC-1"));
  EXPECT_TRUE(admits("[]a]{32}b?", std::string(32, 'a')));
}

// Older ones were taken without a look at that.
TEST(DevicePattern, IsReadFromAnOrderAsItWasTaken) {
  EXPECT_TRUE(DevicePattern::recorded("([A-Z]?[0-9]?){4}").matches(DeviceId::parse("A1B2")));
}

TEST(DevicePattern, IsWrittenBackAsItWasRead) {
  EXPECT_EQ(DevicePattern::parse("1FLEET[0-9]{10}").text(), "1FLEET[0-9]{10}");
}

}  // namespace
}  // namespace fleetroot::ca
