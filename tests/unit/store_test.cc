// The database: migrations, transactions, two processes.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "lib/base/files.h"
#include "lib/store/database.h"
#include "tests/expect_error.h"
#include "tests/judge.h"
#include "tests/scratch_directory.h"

namespace fleetroot {
namespace {

using testing::HasSubstr;

using Migrations = std::vector<std::string_view>;
const Migrations kFirst{
    "CREATE TABLE counter (id INTEGER PRIMARY KEY, value INTEGER NOT NULL);\n"
    "INSERT INTO counter VALUES (1, 0);\n"};
const Migrations kSecond{kFirst[0],
                         "ALTER TABLE counter ADD COLUMN name TEXT;\nUPDATE counter SET name = 'a;b'"};

int value_in(Database& database) {
  int value = -1;
  database.sql() << "SELECT value FROM counter WHERE id = 1", soci::into(value);
  return value;
}

class Store : public testing::Test {
 protected:
  ScratchDirectory directory_;
  std::filesystem::path path_ = directory_ / "ledger.db";
};

TEST_F(Store, IsMadePrivate) {
  Database database(path_, kFirst);
  for (const std::filesystem::directory_entry& entry :
       std::filesystem::directory_iterator(directory_.path())) {
    struct stat status {};
    ASSERT_EQ(stat(entry.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600U) << entry.path();
  }
}

TEST_F(Store, SurvivesPowerLossByItsSettings) {
  Database database(path_, kFirst);
  std::string mode;
  int synchronous = 0;
  int foreign_keys = 0;
  database.sql() << "PRAGMA journal_mode", soci::into(mode);
  database.sql() << "PRAGMA synchronous", soci::into(synchronous);
  database.sql() << "PRAGMA foreign_keys", soci::into(foreign_keys);
  EXPECT_EQ(mode, "wal");
  EXPECT_EQ(synchronous, 2) << "FULL";
  EXPECT_EQ(foreign_keys, 1);
}

TEST_F(Store, MigratesOnceAndFromWhereItIs) {
  {
    Database database(path_, kFirst);
    WriteTransaction transaction(database);
    database.sql() << "UPDATE counter SET value = 7";
    transaction.commit();
  }
  for (int i = 0; i < 2; ++i) {
    Database database(path_, kSecond);
    std::string name;
    database.sql() << "SELECT name FROM counter", soci::into(name);
    EXPECT_EQ(name, "a;b");
    EXPECT_EQ(value_in(database), 7);
  }
}

TEST_F(Store, OfANewerProgramIsRefusedAndLeftAlone) {
  { Database database(path_, kSecond); }
  Error error = error_of([&] { Database(path_, kFirst); });
  EXPECT_EQ(error.code(), ErrorCode::configuration);
  EXPECT_THAT(error.message(), HasSubstr("schema version 2"));
  EXPECT_NO_THROW(Database(path_, kSecond));
}

TEST_F(Store, AMigrationThatFailsLeavesTheVersionBeforeIt) {
  { Database database(path_, kFirst); }
  const Migrations broken{kFirst[0], "UPDATE counter SET value = 9;\nINSERT INTO counter VALUES (1, 0);\n"};
  EXPECT_EQ(code_of([&] { Database(path_, broken); }), ErrorCode::internal);
  Database database(path_, kSecond);
  EXPECT_EQ(value_in(database), 0);
}

TEST_F(Store, IsFoundUnderAnyPath) {
  for (const char* name : {"a b.db", "a=b.db", "a;b.db", "a'b.db"}) {
    { Database database(directory_ / name, kFirst); }
    EXPECT_TRUE(std::filesystem::exists(directory_ / name)) << name;
    // Judged by its own shell, because a driver that misreads the name makes a file elsewhere.
    EXPECT_EQ(judge({"sqlite3", directory_ / name, "SELECT count(*) FROM counter"}).output, "1\n") << name;
  }
}

TEST_F(Store, WhatIsNoDatabaseIsRefused) {
  write_file(path_, std::string(4096, 'x'));
  EXPECT_EQ(code_of([&] { Database(path_, kFirst); }), ErrorCode::io);
  EXPECT_EQ(read_file(path_), std::string(4096, 'x'));
  std::filesystem::create_directory(directory_ / "d");
  EXPECT_EQ(code_of([&] { Database(directory_ / "d", kFirst); }), ErrorCode::io);
  EXPECT_EQ(code_of([&] { Database(directory_ / "none/f.db", kFirst); }), ErrorCode::cannot_create);
}

TEST_F(Store, WhatCannotBeReadOrWrittenIsNamedAndNoValueIsShown) {
  Database database(path_, kFirst);
  database.change("PRAGMA query_only = ON");
  std::string value = "precious";
  Error error =
      error_of([&] { database.change("INSERT INTO counter (value) VALUES (:value)", soci::use(value)); });
  EXPECT_EQ(error.code(), ErrorCode::io);
  EXPECT_EQ(error.message(), fmt::format("the database {} cannot be read or written", path_.string()));
  EXPECT_EQ(error.cause(), "attempt to write a readonly database");

  write_file(directory_ / "damaged.db", std::string(4096, 'x'));
  error = error_of([&] { Database(directory_ / "damaged.db", kFirst); });
  EXPECT_EQ(error.message(), fmt::format("the database {} is damaged", (directory_ / "damaged.db").string()));
  EXPECT_EQ(error.cause(), "file is not a database");
}

// Not a bug to report: somebody changed the file.
TEST_F(Store, ThatLacksATableOrAColumnIsDamaged) {
  Database database(path_, kSecond);
  database.sql() << "ALTER TABLE counter DROP COLUMN name";
  for (const char* text : {"UPDATE counter SET name = 'x'", "INSERT INTO counter (name) VALUES ('x')"}) {
    Error error = error_of([&] { database.change(text); });
    EXPECT_EQ(error.code(), ErrorCode::io) << text;
    EXPECT_EQ(error.message(), fmt::format("the database {} is damaged", path_.string()));
  }
  database.sql() << "DROP TABLE counter";
  EXPECT_EQ(code_of([&] { database.change("DELETE FROM counter"); }), ErrorCode::io);
  Database anew(path_, kSecond);
  EXPECT_EQ(code_of([&] { anew.change("DELETE FROM counter"); }), ErrorCode::io);
}

TEST_F(Store, IsFoundToHaveAnotherSchema) {
  const Migrations migrations{kSecond[0], kSecond[1], "CREATE UNIQUE INDEX one_name ON counter (name)"};
  { Database(path_, kSecond); }
  Database database(path_, migrations);
  EXPECT_NO_THROW(database.refuse_if_damaged());
  database.sql() << "ANALYZE";
  EXPECT_NO_THROW(database.refuse_if_damaged());
  const std::vector<std::pair<std::string, std::string>> changes{
      {"DROP INDEX one_name", "the index one_name"},
      {"CREATE INDEX one_name ON counter (name)", "the index one_name"},
      {"CREATE TRIGGER planted AFTER UPDATE ON counter BEGIN DELETE FROM counter; END",
       "the trigger planted"},
      {"CREATE TABLE another (id)", "the table another"},
      {"ALTER TABLE counter ADD COLUMN more", "the table counter"}};
  for (const auto& [change, what] : changes) {
    WriteTransaction undone(database);
    if (change.starts_with("CREATE INDEX")) database.sql() << "DROP INDEX one_name";
    database.sql() << change;
    Error error = error_of([&] { database.refuse_if_damaged(); });
    EXPECT_EQ(error.code(), ErrorCode::io) << change;
    EXPECT_THAT(error.message(), HasSubstr(what));
  }
}

TEST_F(Store, ATransactionThatIsNotCommittedNeverWas) {
  Database database(path_, kFirst);
  {
    WriteTransaction transaction(database);
    database.sql() << "UPDATE counter SET value = 1";
  }
  EXPECT_EQ(value_in(database), 0);
  {
    WriteTransaction transaction(database);
    database.sql() << "UPDATE counter SET value = 2";
    transaction.commit();
  }
  EXPECT_EQ(value_in(database), 2);
}

// As a back-up is put back under a program that runs.
TEST_F(Store, WhatWasMovedAwayOrReplacedTakesNoTransaction) {
  Database database(path_, kFirst);
  auto refusal_of_both = [&] {
    ErrorCode of_reader = code_of([&] { ReadTransaction{database}; });
    EXPECT_EQ(code_of([&] { WriteTransaction{database}; }), of_reader);
    return of_reader;
  };
  std::filesystem::path elsewhere = directory_ / "elsewhere.db";
  std::filesystem::rename(path_, elsewhere);
  EXPECT_EQ(refusal_of_both(), ErrorCode::io);
  std::filesystem::copy(elsewhere, path_);
  EXPECT_EQ(refusal_of_both(), ErrorCode::io);
  std::filesystem::rename(elsewhere, path_);
  EXPECT_NO_THROW(WriteTransaction{database});
}

TEST_F(Store, AnErrorInsideRollsBackAndTheNextOneWorks) {
  Database database(path_, kFirst);
  EXPECT_EQ(code_of([&] {
              WriteTransaction transaction(database);
              with_store_errors([&] {
                database.sql() << "UPDATE counter SET value = 1";
                database.sql() << "INSERT INTO counter VALUES (1, 0)";
              });
              transaction.commit();
            }),
            ErrorCode::internal);
  EXPECT_EQ(value_in(database), 0);
  WriteTransaction transaction(database);
  database.sql() << "UPDATE counter SET value = 3";
  transaction.commit();
  EXPECT_EQ(value_in(database), 3);
}

TEST_F(Store, AReaderSeesWhatWasCommittedWhileAWriterWrites) {
  Database writer(path_, kFirst);
  Database reader(path_, kFirst);
  WriteTransaction transaction(writer);
  writer.sql() << "UPDATE counter SET value = 5";
  EXPECT_EQ(value_in(reader), 0);
  transaction.commit();
  EXPECT_EQ(value_in(reader), 5);
}

TEST_F(Store, ALockedDatabaseIsBusyAndWorthAnotherTry) {
  Database writer(path_, kFirst);
  Database second(path_, kFirst);
  second.sql() << "PRAGMA busy_timeout = 1";
  WriteTransaction transaction(writer);
  Error error = error_of([&] { WriteTransaction blocked(second); });
  EXPECT_EQ(error.code(), ErrorCode::busy);
  EXPECT_TRUE(is_retryable(error.code()));
}

constexpr int kProcesses = 3;
constexpr int kIncrements = 100;

// Reads and writes back in a transaction: without the lock at its beginning, increments would be lost.
int count_up(const std::filesystem::path& path) {
  try {
    Database database(path, kFirst);
    for (int i = 0; i < kIncrements; ++i) {
      WriteTransaction transaction(database);
      int value = value_in(database) + 1;
      database.sql() << "UPDATE counter SET value = :value", soci::use(value);
      transaction.commit();
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

void run_in_processes(int count, const std::function<int()>& body) {
  std::vector<pid_t> children;
  for (int i = 0; i < count; ++i) {
    pid_t child = fork();
    if (child == 0) _exit(body());
    children.push_back(child);
  }
  for (pid_t child : children) {
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
}

int open_it(const std::filesystem::path& path) {
  try {
    Database database(path, kFirst);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

// One that is killed while it makes the file leaves it in any state; and while one makes it, others look at
// it.
TEST_F(Store, ProcessesThatOpenItAfterOneWasKilledWhileItMadeItAllGetIn) {
  for (int round = 0; round < 100; ++round) {
    std::filesystem::path path = directory_ / fmt::format("{}.db", round);
    pid_t killed = fork();
    if (killed == 0) _exit(open_it(path));
    // no waiting for something, but a later moment each round
    usleep(static_cast<useconds_t>(round * 50));
    kill(killed, SIGKILL);
    ASSERT_EQ(waitpid(killed, nullptr, 0), killed);
    run_in_processes(6, [&] { return open_it(path); });
  }
}

TEST_F(Store, ProcessesThatMakeItAndWriteAtTheSameTimeLoseNothing) {
  run_in_processes(kProcesses, [&] { return count_up(path_); });
  Database database(path_, kFirst);
  EXPECT_EQ(value_in(database), kProcesses * kIncrements);
}

void add(Database& database, int value) {
  database.change("UPDATE counter SET value = value + :value WHERE id = 1", soci::use(value));
}

TEST_F(Store, KeptStatementsTakeNewValuesAndLetGoOfWhatTheyRead) {
  Database database(path_, kFirst);
  for (int expected = 0; expected < 3; ++expected) {
    int value = -1;
    EXPECT_TRUE(database.row("SELECT value FROM counter WHERE id = 1", soci::into(value)));
    EXPECT_EQ(value, expected);
    // Another session may write: nothing here still reads.
    Database other(path_, kFirst);
    WriteTransaction transaction(other);
    add(other, 1);
    transaction.commit();
  }
  int absent = -1;
  for (int id : {2, 3}) {
    EXPECT_FALSE(database.row("SELECT value FROM counter WHERE id = :id", soci::use(id), soci::into(absent)));
  }
  EXPECT_EQ(code_of([&] { database.change("no SQL at all"); }), ErrorCode::internal);
  EXPECT_EQ(code_of([&] { database.change("no SQL at all"); }), ErrorCode::internal) << "it is not kept";
}

}  // namespace
}  // namespace fleetroot
