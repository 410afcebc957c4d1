// Lists of devices: CSV as spreadsheets and MES systems write it.
#include "factory-ca/device_list.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "factory-ca/csv.h"
#include "tests/expect_error.h"

namespace fleetroot::ca {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;
using namespace std::string_literals;

using Fields = std::vector<std::string>;

std::vector<Fields> fields_of(std::string_view csv) {
  std::vector<Fields> rows;
  for (const CsvRow& row : parse_csv(csv)) rows.push_back(row.fields);
  return rows;
}

std::string refusal_of(std::string_view csv, ErrorCode code = ErrorCode::bad_request) {
  Error error = error_of([&] { parse_device_list(csv); });
  EXPECT_EQ(error.code(), code) << error.what();
  EXPECT_FALSE(error.hint().empty());
  return error.message();
}

TEST(Csv, IsRowsOfFields) {
  EXPECT_THAT(fields_of("a,b,c\n1,2,3\n"), ElementsAre(Fields{"a", "b", "c"}, Fields{"1", "2", "3"}));
}

TEST(Csv, EndsItsLinesWithLfOrCrlf) {
  EXPECT_THAT(fields_of("a,b\r\n1,2\r\n"), ElementsAre(Fields{"a", "b"}, Fields{"1", "2"}));
  EXPECT_THAT(fields_of("a\r\n1\n2\r\n"), ElementsAre(Fields{"a"}, Fields{"1"}, Fields{"2"}));
}

TEST(Csv, MayLackTheLastLineEnd) {
  EXPECT_THAT(fields_of("a,b\n1,2"), ElementsAre(Fields{"a", "b"}, Fields{"1", "2"}));
  EXPECT_THAT(fields_of("a,b\n1,\"2\""), ElementsAre(Fields{"a", "b"}, Fields{"1", "2"}));
}

TEST(Csv, DropsAByteOrderMarkInFrontOnly) {
  EXPECT_THAT(fields_of("\xef\xbb\xbf"
                        "a\n1\n"),
              ElementsAre(Fields{"a"}, Fields{"1"}));
  EXPECT_THAT(fields_of("\xef\xbb\xbf\"a\"\n"), ElementsAre(Fields{"a"}));
  EXPECT_THAT(fields_of("a\n\xef\xbb\xbf"
                        "1\n"),
              ElementsAre(Fields{"a"}, Fields{"\xef\xbb\xbf"
                                              "1"}));
}

TEST(Csv, SkipsEmptyLines) {
  EXPECT_THAT(fields_of("\n\na\n\r\n1\n\n"), ElementsAre(Fields{"a"}, Fields{"1"}));
  EXPECT_THAT(fields_of(""), IsEmpty());
  EXPECT_THAT(fields_of("\xef\xbb\xbf"), IsEmpty());
}

TEST(Csv, KeepsEmptyFields) {
  EXPECT_THAT(fields_of(",\n"), ElementsAre(Fields{"", ""}));
  EXPECT_THAT(fields_of("a,,b,\n"), ElementsAre(Fields{"a", "", "b", ""}));
  EXPECT_THAT(fields_of("\"\",\"\""), ElementsAre(Fields{"", ""}));
  EXPECT_THAT(fields_of("a,"), ElementsAre(Fields{"a", ""}));
}

TEST(Csv, KeepsSpaces) {
  EXPECT_THAT(fields_of(" a , b \n"), ElementsAre(Fields{" a ", " b "}));
}

TEST(Csv, QuotesProtectCommasQuotesAndLineBreaks) {
  EXPECT_THAT(fields_of("\"a,b\",\"c\"\"d\",\"e\r\nf\",\"\"\"\"\n"),
              ElementsAre(Fields{"a,b", "c\"d", "e\r\nf", "\""}));
}

TEST(Csv, KnowsWhereARowBegins) {
  std::vector<CsvRow> rows = parse_csv("a\n\n\"1\n2\"\n3\n");
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].line, 1U);
  EXPECT_EQ(rows[1].line, 3U);
  EXPECT_EQ(rows[2].line, 5U);
}

TEST(Csv, RefusesWhatCouldBeReadInTwoWays) {
  struct Bad {
    std::string text;
    const char* says;
  };
  for (const Bad& bad :
       {Bad{"a\nb\"c\n", "line 2: there is a quote inside"},
        Bad{"a\n\"b\"c\n", "line 2: there is text after"}, Bad{"a\n\"b\n", "a quote is open"},
        Bad{"\"", "a quote is open"}, Bad{"a\rb\n", "line 1: there is a carriage return alone"},
        Bad{"a\r", "carriage return alone"}, Bad{"\"a\"\rb\n", "text after"},
        Bad{"a\nb\0c\n"s, "line 2: there is a NUL"}, Bad{"a\n\"b\0\"\n"s, "line 2: there is a NUL"},
        Bad{"\0"s, "there is a NUL"}, Bad{"a\n\"b\" \n", "text after"}, Bad{"a\n \"b\"\n", "quote inside"}}) {
    Error error = error_of([&] { parse_csv(bad.text); });
    EXPECT_EQ(error.code(), ErrorCode::bad_request) << bad.text;
    EXPECT_THAT(error.message(), HasSubstr(bad.says)) << bad.text;
  }
}

TEST(DeviceList, KeepsTheColumnsForTheProfile) {
  std::vector<DeviceRecord> devices =
      parse_device_list("hw_model,device_id,hw_serial\nM1,dev-1,S1\n\"M,2\",dev-2,\n");
  ASSERT_EQ(devices.size(), 2U);
  EXPECT_EQ(devices[0].id.text(), "dev-1");
  EXPECT_THAT(devices[0].columns, UnorderedElementsAre(Pair("hw_model", "M1"), Pair("hw_serial", "S1")));
  EXPECT_EQ(devices[1].id.text(), "dev-2");
  EXPECT_THAT(devices[1].columns, UnorderedElementsAre(Pair("hw_model", "M,2"), Pair("hw_serial", "")));
}

TEST(DeviceList, NeedsAHeaderWithTheDeviceId) {
  EXPECT_THAT(refusal_of("id\ndev-1\n"), HasSubstr("there is no column device_id"));
  EXPECT_THAT(refusal_of("dev-1\ndev-2\n"), HasSubstr("column"));
  EXPECT_THAT(refusal_of("device_id,device_id\na,b\n"), HasSubstr("device_id is there twice"));
  EXPECT_THAT(refusal_of("device_id,x,x\na,b,c\n"), HasSubstr("x is there twice"));
  for (const std::string& name : {""s, "HW"s, "hw model"s, "hw-model"s, std::string(65, 'a')}) {
    EXPECT_THAT(refusal_of("device_id," + name + "\na,b\n"), HasSubstr("a column's name")) << name;
  }
}

TEST(DeviceList, NamesADevice) {
  refusal_of("");
  refusal_of("device_id\n");
  refusal_of("device_id\r\n\r\n");
}

TEST(DeviceList, NamesTheLineOfWhatIsWrong) {
  EXPECT_THAT(refusal_of("device_id,a\ndev-1,1\ndev-2\n"),
              HasSubstr("line 3: 1 fields, where the header has 2"));
  EXPECT_THAT(refusal_of("device_id,a\n\ndev-1,1,2\n"), HasSubstr("line 3: 3 fields"));
  EXPECT_THAT(refusal_of("device_id\ndev-1\ndev 2\n", ErrorCode::invalid_device_id), HasSubstr("line 3: "));
  EXPECT_THAT(refusal_of("device_id,a\n\"\",1\n", ErrorCode::invalid_device_id), HasSubstr("line 2: "));
  EXPECT_THAT(refusal_of("device_id\ndev-1\n\"dev\n2\"\n", ErrorCode::invalid_device_id),
              HasSubstr("line 3: "));
}

TEST(DeviceList, NamesEachDeviceOnce) {
  EXPECT_THAT(refusal_of("device_id\ndev-1\ndev-2\n\ndev-1\n"),
              HasSubstr("line 5: the device dev-1 is there twice"));
  EXPECT_EQ(parse_device_list("device_id\ndev-1\nDEV-1\n").size(), 2U) << "IDs are told apart by case";
}

TEST(DeviceList, TakesPlainTextAsValues) {
  EXPECT_EQ(parse_device_list("device_id,a\ndev-1,Gerät №1\n")[0].columns["a"], "Gerät №1");
  EXPECT_EQ(parse_device_list("device_id,a\ndev-1," + std::string(256, 'x') + "\n").size(), 1U);
  for (const std::string& value :
       {"\"a\nb\""s, "a\tb"s, "a\x7f"s, "a\xff"s, "\xc3"s, std::string(257, 'x')}) {
    EXPECT_THAT(refusal_of("device_id,a\ndev-1," + value + "\n"), HasSubstr("line 2: the value of a"))
        << value;
  }
}

TEST(DeviceList, OfTenThousandDevicesIsReadInOrder) {
  std::string csv = "device_id,hw_serial\n";
  for (int i = 0; i < 10'000; ++i) csv += fmt::format("1FLEET{:010},S{}\n", i, i);
  std::vector<DeviceRecord> devices = parse_device_list(csv);
  ASSERT_EQ(devices.size(), 10'000U);
  EXPECT_EQ(devices.back().id.text(), "1FLEET0000009999");
  EXPECT_EQ(devices.back().columns["hw_serial"], "S9999");
  EXPECT_THAT(refusal_of(csv + "1FLEET0000000000,again\n"), HasSubstr("line 10002"));
}

TEST(DeviceRecord, ComesBackFromJsonAsItWas) {
  using Columns = std::map<std::string, std::string>;
  for (const Columns& columns :
       {Columns{}, Columns{{"a", ""}}, Columns{{"a", "\"\\{}"}, {"b", "Gerät"}, {"c", "2"}}}) {
    EXPECT_EQ(columns_from_json(columns_to_json(columns)), columns);
  }
}

}  // namespace
}  // namespace fleetroot::ca
